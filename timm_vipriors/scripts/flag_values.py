"""Looks at the values of a script's flags before it starts: timm's scripts find out later, or never, and say little."""

import argparse
import math
from pathlib import Path

import torch
from timm.data import create_transform
from timm.optim import get_optimizer_class
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

from ..errors import UserError

_FROM_1 = (
    *('batch_size', 'validation_batch_size', 'epochs', 'grad_accum_steps', 'log_interval', 'val_interval', 'log_freq'),
    *('checkpoint_hist', 'lr_base_size', 'img_size', 'in_chans', 'num_classes', 'recount'),
)
_FROM_0 = (
    'workers',
    'warmup_epochs',
    'cooldown_epochs',
    'lr',
    'lr_base',
    'mixup',
    'cutmix',
    'momentum',
    'weight_decay',
)
_SHARES = ('smoothing', 'drop', 'drop_path', 'reprob', 'hflip', 'vflip', 'mixup_prob', 'mixup_switch_prob')
_METRICS = ('top1', 'top5', 'loss')


def check_values(args: argparse.Namespace) -> None:
    """Raise a UserError for a value that no training or validation can have."""
    for name, value in vars(args).items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
            raise UserError(f'{flag_name(name)}: expected a finite number, got {_text(value)}')
    for names, lowest, highest in ((_FROM_1, 1, math.inf), (_FROM_0, 0, math.inf), (_SHARES, 0, 1)):
        for name in names:
            value = getattr(args, name, None)
            if isinstance(value, int | float) and not lowest <= value <= highest:
                limits = f'from {lowest}' if highest == math.inf else f'in {lowest} … {highest}'
                raise UserError(f'{flag_name(name)} must be {limits}, got {value}')
    if not 0 <= getattr(args, 'seed', 0) < 2**31:
        raise UserError(f'--seed must be in 0 … 2147483647, got {args.seed}')
    if args.crop_pct is not None and args.crop_pct <= 0:
        raise UserError(f'--crop-pct must be above 0, got {args.crop_pct}')
    if getattr(args, 'eval_metric', 'top1') not in _METRICS:
        raise UserError(f'--eval-metric must be one of {", ".join(_METRICS)}, got {args.eval_metric!r}')
    check_channels(args)
    if hasattr(args, 'opt'):
        check_optimizer(args.opt)
        check_schedule(args)
        check_augmentation(args)
        check_output(args.output)
    check_device(args.device)


def check_channels(args: argparse.Namespace) -> None:
    """Raise unless the input's size, mean and standard deviation fit together."""
    size = args.input_size
    if size and (len(size) != 3 or min(size) < 1 or (args.in_chans or size[0]) != size[0]):
        raise UserError(
            f'--input-size must be channels, height and width, with the channels of --in-chans: {_text(size)}'
        )
    channels = args.in_chans or (size[0] if size else 3)
    for name in ('mean', 'std'):
        values = getattr(args, name)
        if values is not None and len(values) not in (1, channels):
            raise UserError(f'--{name}: expected one number, or one for each of {channels} channels: {_text(values)}')
    if args.std is not None and min(args.std) <= 0:
        raise UserError(f'--std must be above 0, got {_text(args.std)}')


def check_device(name: str) -> None:
    """Raise unless something can be computed on a device."""
    try:
        torch.zeros(1, device=name).cpu()
    except Exception as e:  # each kind of device has its own
        raise UserError(f'--device {name} cannot be used: {str(e).strip().splitlines()[0]}') from e


def check_optimizer(name: str) -> None:
    """Raise unless timm has an optimizer."""
    try:
        get_optimizer_class(name.lower().removeprefix('lookahead_'), bind_defaults=False)
    except ValueError as e:
        raise UserError(f'--opt {name!r}: timm has no such optimizer (timm.optim.list_optimizers())') from e


def check_schedule(args: argparse.Namespace) -> None:
    """Raise if timm can make no schedule by the flags; before 1.0.31 it took an unknown one for none."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    try:
        schedule, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(args), updates_per_epoch=1)
        if schedule is not None:
            schedule.step(epochs + args.warmup_epochs, metric=0.0)
    except Exception as e:  # timm has asserts, a ZeroDivisionError, and more
        raise UserError(f'--sched {args.sched} cannot be made with the flags given: {e or type(e).__name__}') from e
    if schedule is None and args.sched != 'none':
        raise UserError(f'--sched {args.sched!r}: timm has no such schedule')


def check_augmentation(args: argparse.Namespace) -> None:
    """Raise if timm can make no training transform by the flags."""
    for name in ('scale', 'ratio'):
        values = getattr(args, name)
        if values is not None and not (len(values) == 2 and 0 < values[0] <= values[1]):
            raise UserError(f'--{name}: expected two numbers above 0, the smaller one first, got {_text(values)}')
    try:
        create_transform(
            32, True, auto_augment=args.aa, scale=args.scale, ratio=args.ratio, interpolation=args.train_interpolation
        )
    except Exception as e:  # timm has asserts, a KeyError for the interpolation, and more
        said = e if isinstance(e, AssertionError) and str(e) else f'timm does not know {e}'
        raise UserError(f'--aa {args.aa} --train-interpolation {args.train_interpolation}: {said}') from e


def check_output(output: str) -> None:
    """Raise if the folder of all runs would lie in a file."""
    for path in (Path(output), *Path(output).parents) if output else ():
        if path.is_file():
            raise UserError(f'--output {output} cannot be made: {path} is a file')


def flag_name(name: str) -> str:
    """An argument's flag on the command line."""
    return f'--{name.replace("_", "-")}'


def _text(value: object) -> str:
    return ' '.join(map(str, value)) if isinstance(value, list | tuple) else str(value)
