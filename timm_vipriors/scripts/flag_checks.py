"""Checks the values of a script's flags before it starts: timm's scripts would find out later, or never."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from timm.data import create_transform
from timm.optim import get_optimizer_class
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

from ..errors import UserError
from ..files import first_line, first_names
from .ranks import is_primary

_RANGES: dict[tuple[float, float], str] = {
    (1, math.inf): 'batch_size validation_batch_size epochs grad_accum_steps log_interval val_interval log_freq '
    'checkpoint_hist lr_base_size img_size in_chans num_classes recount',
    (0, math.inf): 'workers warmup_epochs cooldown_epochs lr lr_base mixup cutmix momentum weight_decay min_lr',
    (0, 1): 'smoothing drop drop_path reprob hflip vflip mixup_prob mixup_switch_prob model_ema_decay',
    (0, 2**31 - 1): 'seed',
}


def check_values(args: argparse.Namespace) -> None:
    """Raise a UserError for a value that no training or validation can have."""
    check_device(args.device)
    for name, value in vars(args).items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
            raise UserError(f'{flag_name(name)}: expected a finite number, got {_text(value)}')
    for (lowest, highest), names in _RANGES.items():
        for name in names.split():
            value = getattr(args, name, None)
            if isinstance(value, int | float) and not lowest <= value <= highest:
                limits = f'from {lowest}' if highest == math.inf else f'in {lowest} … {highest}'
                raise UserError(f'{flag_name(name)} must be {limits}, got {value}')
    if args.crop_pct is not None and args.crop_pct <= 0:
        raise UserError(f'--crop-pct must be above 0, got {args.crop_pct}')
    check_channels(args)
    if hasattr(args, 'opt'):
        check_training_values(args)


def check_training_values(args: argparse.Namespace) -> None:
    """Raise for what timm would refuse late, with an error that names no flag."""
    if args.eval_metric not in ('top1', 'top5', 'loss'):
        raise UserError(f'--eval-metric must be one of top1, top5, loss, got {args.eval_metric!r}')
    for name in ('scale', 'ratio'):
        values = getattr(args, name)
        if values is not None and not (len(values) == 2 and 0 < values[0] <= values[1]):
            raise UserError(f'--{name}: expected two numbers above 0, the smaller one first, got {_text(values)}')
    if (args.mixup or args.cutmix) and args.batch_size % 2:
        raise UserError(f'--mixup and --cutmix need an even --batch-size, got {args.batch_size}')
    if args.aa and channels(args) == 1:
        raise UserError(f'--aa {args.aa} needs images of three channels: leave it out, or --in-chans 1')
    for flags, make in (
        (f'--opt {args.opt}', lambda: get_optimizer_class(args.opt.lower().removeprefix('lookahead_'), False)),
        (f'--sched {args.sched}', lambda: _try_schedule(args)),
        (f'--aa {args.aa} --train-interpolation {args.train_interpolation}', lambda: _try_transform(args)),
    ):
        try:
            make()
        except Exception as e:  # timm has asserts, a KeyError, a ZeroDivisionError, and more
            raise UserError(f'{flags} cannot be made with the flags given: {first_line(e)}') from e


def _try_schedule(args: argparse.Namespace) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(args), updates_per_epoch=1)
    if schedule is not None:
        schedule.step(epochs + args.warmup_epochs, metric=0.0)
    elif args.sched != 'none':  # before 1.0.31 timm takes an unknown schedule for none
        raise ValueError('timm has no such schedule')


def _try_transform(args: argparse.Namespace) -> None:
    create_transform(32, True, auto_augment=args.aa, interpolation=args.train_interpolation)


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


def check_channels(args: argparse.Namespace) -> None:
    """Raise unless the input's size, mean and standard deviation fit together, and images can have its channels."""
    size = args.input_size
    if size and (len(size) != 3 or min(size) < 1 or (args.in_chans or size[0]) != size[0]):
        raise UserError(
            f'--input-size must be channels, height and width, with the channels of --in-chans: {_text(size)}'
        )
    number = channels(args)
    if number not in (1, 3) and not getattr(args, 'input_img_mode', None):
        raise UserError(f'images are read with 1 or 3 channels, got --in-chans {number}')
    for name in ('mean', 'std'):
        values = getattr(args, name)
        if values is not None and len(values) not in (1, number):
            raise UserError(f'--{name}: expected one number, or one for each of {number} channels: {_text(values)}')
    if args.std is not None and min(args.std) <= 0:
        raise UserError(f'--std must be above 0, got {_text(args.std)}')


def check_config(parser: argparse.ArgumentParser, path: str) -> None:
    """Raise for a --config file that is none, or has a value of a type that its flag cannot have.

    A name in it that is no flag is named in a warning: the file may be the args.yaml of another version of the script.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except OSError as e:
        raise UserError(f'--config {path} cannot be read: {e.strerror}') from e
    except (ValueError, RecursionError, yaml.YAMLError) as e:
        raise UserError(f'--config {path} is not a YAML file: {first_line(e)}') from e
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UserError(f'--config {path}: expected lines of "name: value" with the names of flags')
    actions = {action.dest: action for action in parser._actions}
    for name in actions.keys() & values.keys():
        if values[name] is not None and not _fits(parser, actions[name], values[name]):
            raise UserError(f'--config {path}: {flag_name(name)} does not take {values[name]!r}')
    unknown = values.keys() - actions.keys()
    if unknown and is_primary():
        names = first_names(sorted(unknown))
        print(f'warning: {path} has names that are no flags of the script: {names}', file=sys.stderr)


def _fits(parser: argparse.ArgumentParser, action: argparse.Action, value: Any) -> bool:
    """Whether a flag could have the value, had it been typed."""
    if action.nargs == 0 or isinstance(action.default, dict):
        return isinstance(value, bool if action.nargs == 0 else dict)
    items = value if action.nargs not in (None, '?') and isinstance(value, list) else [value]
    try:
        converted = [parser._get_value(action, str(item)) for item in items]
    except argparse.ArgumentError:
        return False
    # argparse converts the texts of a file, and leaves what YAML has made of the others
    return all(isinstance(item, str) or type(made) is not str for item, made in zip(items, converted, strict=True))


def given_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> set[str]:
    """The names of the arguments whose flags are on a command line, abbreviated or not."""
    words = {word.partition('=')[0] for word in argv if word.startswith('-')}
    return {
        action.dest
        for action in parser._actions
        for option in action.option_strings
        if option in words or any(word.startswith('--') and option.startswith(word) for word in words)
    }


def flag_name(name: str) -> str:
    """An argument's flag on the command line."""
    return f'--{name.replace("_", "-")}'


def _text(value: object) -> str:
    return ' '.join(map(str, value)) if isinstance(value, list | tuple) else str(value)
