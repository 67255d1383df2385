"""Looks at the arguments, the data and the checkpoints before a script starts, so that a mistake costs a second."""

import argparse
import difflib
import os
from pathlib import Path

import timm
import torch

from ..errors import UserError
from ..files import damaged_part as find_damage
from ..files import read_checkpoint
from .flag_values import check_values, flag_name
from .image_folders import check_folders

CHECKPOINTS = ('resume', 'initial_checkpoint', 'checkpoint')  # the flags that name one
_READERS = ('torch/', 'hfds/', 'hfids/', 'tfds/', 'wds/')


def check_before_start(
    name: str, args: argparse.Namespace, parser: argparse.ArgumentParser, going_on: bool = False
) -> dict[str, int] | None:
    """Check what a script is about to use. Where the classes are not given, the parser gets the folder's number.

    Args:
        name: 'train' or 'validate'.
        args: The script's arguments.
        parser: The script's parser, which will parse them again.
        going_on: Whether the run's folder may hold its beginning.

    Returns:
        The classes by which a training script must count in its evaluation; None for those of the folder.

    Raises:
        UserError: In one sentence, what is wrong.
    """
    check_model(args.model, bulk=name == 'validate')
    check_weights(args)
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'--device {args.device}: there is no CUDA device, use --device cpu')
    check_values(args)
    check_checkpoints(args)
    if name == 'train' and not going_on:
        check_run_folder(args)
    # one of timm's readers, which knows its data; timm takes any other name for a folder of images
    has_reader = args.dataset.lower().startswith(_READERS)
    if not (args.data_dir or args.data or has_reader):
        raise UserError('name the data folder: the first argument, or --data-dir')
    if has_reader:
        if getattr(args, 'check_images', False):
            raise UserError('--check-images is for folders of images, not for a --dataset')
        return None
    return check_folders(name, args, parser)


def check_model(name: str, bulk: bool = False) -> None:
    """Raise unless timm knows the model. A validation script in bulk also takes a pattern, 'all' or a file of names."""
    if ':' in name or timm.is_model(name):
        return
    if bulk and (name == 'all' or os.path.isfile(name) or timm.list_models(name)):
        return
    names = timm.list_models()
    close = [n for n in names if n.startswith(name)][:3] or difflib.get_close_matches(name.split('.')[0], names)
    hint = f'did you mean {", ".join(close)}?' if close else 'timm.list_models() lists what there is'
    raise UserError(f'unknown model {name!r}: {hint}')


def check_weights(args: argparse.Namespace) -> None:
    """Raise if published weights are asked for, or needed, that there are not."""
    needed = args.pretrained or getattr(args, 'checkpoint', None) == ''  # a validation script falls back on them
    if needed and timm.is_model(args.model) and not timm.is_model_pretrained(args.model):
        what = 'leave --pretrained out' if args.pretrained else 'name its weights with --checkpoint'
        raise UserError(f'there are no published weights for {args.model}: {what}')


def check_checkpoints(args: argparse.Namespace) -> None:
    """Raise if a checkpoint is missing, or is not as it was written: torch does not compare the checksums in it."""
    for flag in CHECKPOINTS:
        path = getattr(args, flag, '')
        if path and not os.path.exists(path):
            raise UserError(f'{flag_name(flag)}: {path} does not exist')
        try:
            damaged = find_damage(path) if os.path.isfile(path) else None
        except Exception:  # zipfile and zlib each have their own
            continue  # the script will not be able to read it, and then it is said what is wrong
        if damaged is not None:
            raise UserError(f'{path} is damaged, the checksum of {damaged!r} in it is wrong: use another checkpoint')


def check_run_folder(args: argparse.Namespace) -> None:
    """Raise if the run would write over another one."""
    if not args.experiment or args.resume:
        return
    folder = Path(args.output or './output/train', args.experiment)
    if (folder / 'summary.csv').exists():
        raise UserError(f'{folder} holds a run already: go on with it (--resume auto), or name another --experiment')


def explain_checkpoint(args: argparse.Namespace, error: Exception) -> str | None:
    """What is wrong with the checkpoint that a script failed to load, or None if that is not why it failed.

    Args:
        args: The script's arguments.
        error: What the script raised.
    """
    path = next((p for p in (getattr(args, flag, '') for flag in CHECKPOINTS) if p), None)
    if path is None or not os.path.isfile(path):
        return None
    try:
        checkpoint = read_checkpoint(path)
    except (ValueError, OSError) as e:
        return str(e)
    if isinstance(error, ValueError) and 'criterion' in str(error):
        return f'{path}: {error}'
    if not (isinstance(error, RuntimeError) and 'loading state_dict' in str(error)):
        return None
    saved = checkpoint.get('args')
    names = checkpoint.get('arch'), getattr(saved, 'model', None)
    arch = next((name for name in names if isinstance(name, str) and name), 'another model')
    classes = getattr(saved, 'num_classes', None)
    classes = classes if isinstance(classes, int) and classes else count_classes(checkpoint)
    return (
        f'{path} is a checkpoint of {arch} with {classes or "an unknown number of"} classes, which does not fit '
        f'--model {args.model} with {args.num_classes or "its default number of"} classes'
    )


def count_classes(checkpoint: dict) -> int | None:
    """The classes of a state dict, by the bias of its last layer."""
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, dict):
        return None
    biases = [v for k, v in state.items() if str(k).endswith('.bias') and getattr(v, 'ndim', 0) == 1]
    return len(biases[-1]) if biases else None
