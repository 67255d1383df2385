"""Checks a script's flags before it starts: values that would be found late, or be silently wrong.

What timm or argparse refuses at once by the flag's name is left to them.
"""

import argparse
import math

import torch
from PIL import Image
from timm.optim import get_optimizer_class
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

from ..data import create_transform
from ..errors import UserError
from ..files import first_line

_RANGES: dict[tuple[float, float], str] = {
    (1, math.inf): 'batch_size validation_batch_size epochs grad_accum_steps log_interval val_interval log_freq '
    'checkpoint_hist lr_base_size img_size in_chans num_classes recount',
    (0, math.inf): 'workers warmup_epochs cooldown_epochs lr lr_base mixup cutmix momentum weight_decay min_lr',
    (0, 1): 'smoothing drop drop_path reprob hflip vflip mixup_prob mixup_switch_prob model_ema_decay',
    (0.01, 10): 'crop_pct',
    (0, 2**31 - 1): 'seed',
}


def check_values(args: argparse.Namespace, training: bool = True) -> None:
    """Raise a UserError for a value that no training or validation can have."""
    check_device(args.device)
    for (lowest, highest), names in _RANGES.items():
        for name in names.split():
            value = getattr(args, name, None)
            if isinstance(value, int | float) and not lowest <= value <= highest:
                limits = f'from {lowest}' if highest == math.inf else f'in {lowest} … {highest}'
                raise UserError(f'{flag_name(name)} must be {limits}, got {value}')
    if not training:
        return
    if args.eval_metric not in ('top1', 'top5', 'loss'):
        raise UserError(f'--eval-metric must be one of top1, top5, loss, got {args.eval_metric!r}')
    if args.cache_shrink and args.cache == 'off':
        raise UserError('--cache-shrink needs --cache ram or --cache disk')
    if (args.mixup or args.cutmix) and args.batch_size % 2:
        raise UserError(f'--mixup and --cutmix need an even --batch-size, got {args.batch_size}')
    if args.aa and channels(args) == 1:
        raise UserError(f'--aa {args.aa} needs images of three channels: leave it out, or --in-chans 1')
    for names, attempt in (
        ('opt', lambda: get_optimizer_class(args.opt.lower().removeprefix('lookahead_'), False)),
        ('sched', lambda: _try_schedule(args)),
        ('aa train_interpolation scale ratio', lambda: _try_transform(args)),
    ):
        try:
            attempt()
        except Exception as e:  # timm has asserts, a KeyError, a ZeroDivisionError, and more
            flags = ' '.join(f'{flag_name(name)} {value}' for name in names.split() if (value := getattr(args, name)))
            raise UserError(f'{flags} cannot be used with the other flags: {first_line(e)}') from e


def _try_schedule(args: argparse.Namespace) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(args), updates_per_epoch=1)
    if schedule is not None:
        schedule.step(epochs + args.warmup_epochs, metric=0.0)
    elif args.sched != 'none':  # before 1.0.31 timm takes an unknown schedule for none
        raise ValueError('timm has no such schedule')


def _try_transform(args: argparse.Namespace) -> None:
    crop = dict(scale=args.scale, ratio=args.ratio)
    transform = create_transform(32, True, auto_augment=args.aa, interpolation=args.train_interpolation, **crop)
    transform(Image.new('RGB', (64, 64)))


def check_device(name: str) -> None:
    """Raise unless something can be computed on a device."""
    if name.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'--device {name}: there is no CUDA device, use --device cpu')
    try:
        torch.zeros(1, device=name).cpu()
    except Exception as e:  # each kind of device has its own
        raise UserError(f'--device {name} cannot be used: {first_line(e)}') from e


def channels(args: argparse.Namespace) -> int:
    """The channels of the network's input."""
    return args.in_chans or (args.input_size[0] if args.input_size else 3)


def flag_name(name: str) -> str:
    """An argument's flag on the command line."""
    return f'--{name.replace("_", "-")}'
