"""Runs a training or validation script, timm's own or the bundled one, with our parts plugged in.

The script is loaded as a module and stays as it is. Before its `main()` is called, our flags are added to its parser,
and on that module alone `ClassificationTask`, `create_dataset` and `create_loader` are replaced by ours.
"""

import argparse
import errno
import importlib.util
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import timm
import torch
from timm import utils
from timm.data.dataset import ImageDataset
from timm.utils import unwrap_model

from ..data.datasets import CorruptImageError, StrictImageDataset
from ..data.seeding import seed_loader
from ..errors import UserError
from ..task import FeatureClassificationTask, feature_dim
from .augmentation import add_augmentation_options, make_lsb_swap, swap_first
from .checkout import find_checkout, find_in_checkout, version_warning
from .config_file import check_config
from .criterion import add_criterion_options, check_criterion, make_criterion
from .image_folders import add_data_options
from .nonfinite import LossGuard, add_nonfinite_options
from .precision import add_precision_options
from .preflight import check_before_start, explain_checkpoint
from .ranks import is_primary, rank, world_size
from .saving import LAST, Saver, find_last
from .script_help import describe

_logger = logging.getLogger('train')

NEEDED = ('parser', 'main', 'create_dataset', 'create_loader', 'create_model')  # of a script


def run(name: str, argv: Sequence[str]) -> int:
    """Run a script with our parts plugged in.

    Args:
        name: 'train' or 'validate'.
        argv: Its command line, without the program's name.

    Returns:
        The exit code.

    Raises:
        UserError: For a mistake in the flags, the data or a checkpoint.
    """
    script = prepare_script(name)
    with mock.patch.object(sys, 'argv', [script.parser.prog, *argv]):
        if name == 'train':
            check_config(script.parser, sys.argv[1:])
        args = parse_args(script)
        going_on = name == 'train' and args.resume == 'auto'
        if going_on:
            sys.argv += ['--resume', find_last(args)]  # the later one counts
            args = parse_args(script)
        class_to_idx = check_before_start(name, args, script.parser, going_on)
        with plugged_in(script, args, class_to_idx), our_savers(args, going_on) as savers, explained_errors(args):
            script.main()
    if savers and savers[-1].best_epoch is not None:
        report_best(savers[-1], args.eval_metric)
    return 0


def prepare_script(name: str) -> ModuleType:
    """The script's module, with our flags and help in its parser."""
    script = load_script(find_script(name))
    describe(script.parser, name)
    script.parser.set_defaults(device=default_device())
    if name == 'train':
        add_our_options(script.parser)
    return script


def find_script(name: str) -> Path:
    """The script: that of the checkout in `$TIMM_SCRIPTS`, or the bundled one where the variable is not set."""
    checkout = find_checkout()
    if checkout is None:
        return Path(__file__).with_name(f'{name}.py')
    path = find_in_checkout(checkout, name)
    warning = version_warning(checkout, timm.__version__)
    if warning and is_primary():
        print(f'warning: {warning}', file=sys.stderr)
    return path


def load_script(path: Path) -> ModuleType:
    """Load a script as a module of its own, without running its `main()`."""
    spec = importlib.util.spec_from_file_location(f'{path.stem}_script', path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # worker processes look classes up by module name
    spec.loader.exec_module(script)
    missing = [attr for attr in NEEDED if not hasattr(script, attr)]
    if missing:
        raise UserError(f'{path} is not a script of timm that we know: it has no {", ".join(missing)}')
    return script


def add_our_options(parser: argparse.ArgumentParser) -> None:
    """Add our flags to a training script's parser: so they stand in its help, in --config files and in args.yaml."""
    group = parser.add_argument_group('timm-vipriors')
    add_criterion_options(group)
    add_augmentation_options(group)
    add_data_options(group)
    add_precision_options(group)
    add_nonfinite_options(group)


def default_device() -> str:
    """The best device there is: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return 'cuda'
    return 'mps' if torch.backends.mps.is_available() else 'cpu'


def parse_args(script: ModuleType) -> argparse.Namespace:
    """The script's arguments, as it will parse them itself."""
    return script._parse_args()[0] if hasattr(script, '_parse_args') else script.parser.parse_args()


@contextmanager
def plugged_in(script: ModuleType, args: argparse.Namespace, class_to_idx: dict[str, int] | None) -> Iterator[None]:
    """Put our task, data set and loader in the places where the script looks for timm's.

    Args:
        script: The script's module.
        args: Its arguments.
        class_to_idx: The classes of the evaluation, where its own folders would number them otherwise.
    """
    flags = check_criterion(args)
    swap = make_lsb_swap(args) if hasattr(args, 'lsb_swap') else None  # a validation script has no such flag
    batches_per_epoch = None
    guard = LossGuard(skip=getattr(args, 'nonfinite', 'stop') == 'skip')
    tasks = []

    def make_task(*task_args: Any, **kwargs: Any) -> FeatureClassificationTask:
        task = bare_task(*task_args, **kwargs)
        guard.watch(task)
        tasks.append(task)
        return task

    def bare_task(
        model: torch.nn.Module,
        criterion: torch.nn.Module | None = None,
        criterion_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> FeatureClassificationTask:
        if criterion is None:  # scripts since timm 1.0.30 may leave the making to the task
            from timm.loss import create_classification_loss

            criterion = create_classification_loss(**(criterion_kwargs or {}))
        if flags is None:
            return FeatureClassificationTask(model, criterion, **kwargs)
        # the script's own loss tells whether it smooths hard labels; those of mixup come smoothed
        smoothing = getattr(criterion, 'smoothing', 0.0)
        if 'tree_start_epoch' in flags:
            flags.setdefault('steps_per_epoch', batches_per_epoch)
        try:
            num_classes = unwrap_model(model).num_classes
            criterion = make_criterion(args.criterion, flags, num_classes, feature_dim(model))
            return FeatureClassificationTask(model, criterion, smoothing=smoothing, **kwargs)
        except ValueError as e:
            raise UserError(str(e)) from e

    def make_dataset(*dataset_args: Any, **kwargs: Any) -> Any:
        if class_to_idx is not None and not kwargs.get('is_training'):
            kwargs['class_map'] = class_to_idx
        dataset = create_dataset(*dataset_args, **kwargs)
        if type(dataset) is not ImageDataset:
            return dataset
        return StrictImageDataset.of(dataset)

    def make_loader(*loader_args: Any, **kwargs: Any) -> Any:
        if kwargs.get('num_workers') == 0:  # timm before 1.0.31 asks for persistent workers where there are none
            kwargs['persistent_workers'] = False
        loader = create_loader(*loader_args, **kwargs)
        if kwargs.get('is_training'):
            nonlocal batches_per_epoch
            batches_per_epoch = len(loader)
            guard.follow(loader)
            seed_loader(loader, args.seed, rank())
            if swap is not None:
                swap_first(swap, loader.dataset)
                if is_primary():
                    _logger.info(f'LSB swap: {swap.k} low bits from another image, with probability {swap.p:g}')
        return loader

    def make_model(*model_args: Any, **kwargs: Any) -> torch.nn.Module:
        try:
            return create_model(*model_args, **kwargs)
        except Exception as e:  # models have asserts, a TypeError for an argument that they do not know, and more
            given = ' '.join(f'{key}={value}' for key, value in args.model_kwargs.items())
            flags = [f'--gp {args.gp}'] * bool(args.gp) + [f'--model-kwargs {given}'] * bool(given)
            if not flags or explain_checkpoint(args, e):
                raise
            raise UserError(f'{args.model} cannot be made with {" ".join(flags)}: {e or type(e).__name__}') from e

    create_dataset, create_loader, create_model = script.create_dataset, script.create_loader, script.create_model
    ours = dict(create_dataset=make_dataset, create_loader=make_loader, create_model=make_model)
    if hasattr(script, 'ClassificationTask'):
        ours['ClassificationTask'] = make_task
    try:
        with mock.patch.multiple(script, **ours):
            yield
    finally:
        guard.close()
        if world_size() > 1:
            # gloo's thread needs the interpreter's lock to let go of its last tensors, and torch (2.11) holds the lock
            # while it waits for that thread to end, which it does when the last task goes
            time.sleep(0.1)
        tasks.clear()
    if guard.skipped and is_primary():
        _logger.warning(f'{guard.skipped} updates in all were skipped: a gradient was not finite')


@contextmanager
def our_savers(args: argparse.Namespace, going_on: bool) -> Iterator[list[Saver]]:
    """Have the script save with ours, and yield a list that fills with the savers that it makes.

    Args:
        args: The script's arguments.
        going_on: Whether the folder may hold the beginning of this run.
    """
    savers: list[Saver] = []

    def make_saver(*saver_args: Any, **kwargs: Any) -> Saver:
        saver = Saver(*saver_args, **kwargs)
        last = os.path.join(saver.checkpoint_dir, LAST)
        if going_on or (args.resume and os.path.realpath(args.resume) == os.path.realpath(last)):
            saver.go_on()
        savers.append(saver)
        return saver

    def update_summary(*summary_args: Any, filename: str, **kwargs: Any) -> None:
        # timm's own script writes a header after each resume
        kwargs['write_header'] = not os.path.exists(filename)
        timm_update_summary(*summary_args, filename=filename, **kwargs)

    timm_update_summary = utils.update_summary
    with (
        mock.patch.object(utils, 'CheckpointSaver', make_saver),
        mock.patch.object(utils, 'update_summary', update_summary),
    ):
        yield savers


@contextmanager
def explained_errors(args: argparse.Namespace):
    """Turn what a user can cause inside the script into one sentence."""
    try:
        yield
    except CorruptImageError as e:
        traceback.clear_frames(e.__traceback__)  # which keep the loader, whose processes end with it
        raise UserError(e.sentence) from e
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f'{e.filename or "a file of the run"} could not be written: the disk is full') from e
    except Exception as e:
        sentence = explain_checkpoint(args, e)
        if sentence is None and 'Padding size should be less than' in str(e):
            sentence = f'the images are too small for {args.model}: its anti-aliasing needs an --img-size of 32 or more'
        if sentence is None:
            raise
        raise UserError(sentence) from e


def report_best(saver: utils.CheckpointSaver, metric: str) -> None:
    """The last lines of a run: the best result and where it is."""
    unit = ' %' if metric.startswith('top') else ''
    name = {'top1': 'top-1', 'top5': 'top-5'}.get(metric, metric)
    print(f'Best {name}: {saver.best_metric:.2f}{unit} in epoch {saver.best_epoch}')
    print(f'Checkpoint: {os.path.join(saver.checkpoint_dir, "model_best.pth.tar")}')
