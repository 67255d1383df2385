"""Checks a script's flags, data and checkpoints before it starts, where a mistake would cost time or be silently wrong.

What timm refuses at once by the flag's name is left to timm.
"""

import argparse
import difflib
import os
import sys
from pathlib import Path

import timm

from ..checkpoint import DATA_KEYS, Checkpoint
from ..data.timm_sets import READERS
from ..errors import UserError
from ..files import first_names
from .flag_checks import channels, check_values, flag_name
from .folders import Folders, averaging_warning, precision_warning
from .learning_rate import describe_update
from .loggers import check_loggers
from .ranks import is_primary, world_size
from .saving import LAST

CHECKPOINTS = ('resume', 'initial_checkpoint', 'checkpoint')  # the flags that name one


def check_run(
    name: str, args: argparse.Namespace, given: set[str], resuming: bool
) -> tuple[list[str] | None, list[int] | None]:
    """Check all that a script is about to use, and print what a training run will do.

    The arguments are completed where the data or the checkpoint says them; those in `given` are on the command line.
    Returns the classes in the order of the logits and the training images of each, None where the data does not say.
    """
    training = name == 'train'
    checkpoint = read_checkpoints(args)
    if not training and checkpoint is not None:
        adopt(checkpoint, args, given)
    if not (training or checkpoint is not None or given & {'model', 'pretrained'}):
        raise UserError(
            'name what to measure: --checkpoint with a file or the folder of a run, or --model NAME for the weights '
            'that timm publishes'
        )
    check_model(args.model, bulk=not training)
    check_weights(args, training)
    check_values(args, training)
    if training:
        check_loggers(args)
        check_run_folder(args, resuming)
    root = args.data_dir or args.data
    folders = None
    # timm's readers know their data; timm takes any other name for a folder of images
    if not args.dataset.lower().startswith(READERS):
        if not root:
            raise UserError('give the data folder as the first argument, or with --data-dir')
        splits = {'train': args.train_split, 'validation': args.val_split} if training else {'': args.split}
        folders = Folders(root, splits, args.class_map)
    if folders is None or not folders.are_folders:
        for flag in ('check_images', 'class_weights'):
            if getattr(args, flag):
                raise UserError(f'{flag_name(flag)} is for folders of images, not for {args.dataset or root}')
        return None, None
    class_names = check_classes(folders, args, checkpoint)
    args.num_classes = len(class_names)
    if not training:
        return class_names, None
    announce(folders, args, checkpoint)
    return class_names, [folders.counts['train'].get(name, 0) for name in class_names]


def announce(folders: Folders, args: argparse.Namespace, checkpoint: Checkpoint | None) -> None:
    """Say what a run will train on and how, and stop what would have no batch or broken images."""
    if is_primary():
        rate = resumed_rate(checkpoint) if args.resume and not args.no_resume_opt else None
        lines = [*folders.describe(args.batch_size), f'  {describe_update(args, world_size(), rate)}']
        averaging = averaging_warning(args, args.epochs * folders.updates_per_epoch(args))
        warnings = filter(None, [*folders.warnings(), precision_warning(args), averaging])
        print('\n'.join([*lines, *(f'  warning: {warning}' for warning in warnings)]), file=sys.stderr)
    folders.check(args.batch_size)
    if args.check_images and is_primary():
        folders.check_images('L' if channels(args) == 1 else 'RGB')


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


def check_weights(args: argparse.Namespace, training: bool) -> None:
    """Raise if published weights are asked for, or needed, that there are not."""
    path = args.pretrained_path
    if path and not (args.pretrained and os.path.isfile(path)):
        raise UserError(f'--pretrained-path {path}: expected a file, and --pretrained beside it')
    needed = args.pretrained or not (training or args.checkpoint)  # a validation script falls back on them
    if needed and not path and timm.is_model(args.model) and not timm.is_model_pretrained(args.model):
        what = 'leave --pretrained out' if args.pretrained else 'name its weights with --checkpoint'
        raise UserError(f'there are no published weights for {args.model}: {what}')


def read_checkpoints(args: argparse.Namespace) -> Checkpoint | None:
    """The checkpoint that a run resumes from, starts with or validates, mapped into memory; None without one."""
    checkpoint = None
    for flag in CHECKPOINTS:
        if given := getattr(args, flag):
            checkpoint = Checkpoint.read(given, mmap=True)
            setattr(args, flag, checkpoint.path)  # in the folder of a run
    return checkpoint


def adopt(checkpoint: Checkpoint, args: argparse.Namespace, given: set[str]) -> None:
    """Take model, its arguments and the preparation of the images from the checkpoint that is validated."""
    names = {'model': checkpoint.model, 'model_kwargs': checkpoint.get('model_kwargs'), 'gp': checkpoint.get('gp')}
    if checkpoint.description:
        names |= {key: checkpoint.get(key) for key in ('num_classes', *DATA_KEYS)}
    size = names.get('input_size')
    if 'img_size' in given and size:  # a network may be tested at another size than it was trained at
        del names['input_size']
        args.in_chans = size[0] if not args.input_size else args.in_chans
    for key, value in names.items():
        said = getattr(args, key)
        if value is not None and (key not in given or said in (None, '', {})):
            setattr(args, key, value)
        elif key in ('model', 'num_classes', 'gp') and checkpoint.description and value not in (None, said):
            raise UserError(
                f'{flag_name(key)} {said} contradicts {checkpoint.path}, which says {value}: leave the flag out'
            )
    if checkpoint.has_ema() and not args.use_ema:
        print(
            f'note: these are the plain weights of {checkpoint.path}; the figures in the log and summary.csv of its '
            f'run are those of the averaged ones, which --use-ema takes',
            file=sys.stderr,
        )


def resumed_rate(checkpoint: Checkpoint) -> float | None:
    """The learning rate in a checkpoint's optimizer, where the schedule resumes; None without one."""
    groups = checkpoint.content.get('optimizer', {}).get('param_groups')
    return groups[0].get('initial_lr', groups[0]['lr']) if groups else None


def explain_checkpoint(args: argparse.Namespace, error: Exception) -> str | None:
    """What is wrong with the checkpoint that a script failed to load, or None if that is not why it failed."""
    path = args.resume or args.initial_checkpoint or args.checkpoint
    if path and isinstance(error, ValueError) and 'criterion' in str(error):
        return f'{path}: {error}'
    if not (path and isinstance(error, RuntimeError) and 'loading state_dict' in str(error)):
        return None
    checkpoint = Checkpoint.read(path, mmap=True)
    arch, classes = checkpoint.model or 'another model', checkpoint.num_classes
    if checkpoint.model in (None, args.model) and classes == args.num_classes:
        names = first_names(checkpoint.state_dict(), 3)
        return f'{path} does not fit --model {args.model}: its weights are named {names}'
    return (
        f'{path} is a checkpoint of {arch} with {classes or "an unknown number of"} classes, which does not '
        f'fit --model {args.model} with {args.num_classes or "its default number of"} classes'
    )


def check_classes(folders: Folders, args: argparse.Namespace, checkpoint: Checkpoint | None) -> list[str]:
    """The classes in the order of the logits: the checkpoint's where it names them, else those of the folders."""
    names = folders.class_names
    trained = checkpoint.class_names if checkpoint is not None and not args.initial_checkpoint else None
    if trained is not None:
        missing = set(trained) - set(names) if args.resume else ()
        found = {'new': set(names) - set(trained), 'missing': missing}
        if others := [f'{what} {first_names(sorted(which))}' for what, which in found.items() if which]:
            raise UserError(f'{folders.root} has other classes than {checkpoint.path}: {"; ".join(others)}')
        names = trained
    if args.num_classes not in (None, len(names)):
        raise UserError(
            f'--num-classes {args.num_classes} contradicts the data: there are {len(names)} classes in '
            f'{args.class_map or folders.root}. Leave it out, or give a --class-map'
        )
    return names


def check_run_folder(args: argparse.Namespace, resuming: bool) -> None:
    """Raise if the run would overwrite another one; one that was killed before its first checkpoint may start again."""
    summary = Path(args.output or './output/train', args.experiment, 'summary.csv')
    if not args.experiment or args.resume or not summary.exists():
        return
    if not resuming:
        raise UserError(
            f'{summary.parent} already holds a run: resume it with --resume auto, or name another --experiment'
        )
    if summary.read_text(encoding='utf-8').count('\n') > 2:
        raise UserError(f'{summary} belongs to a run whose {LAST} is missing: restore it, or name another --experiment')
