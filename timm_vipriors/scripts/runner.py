"""Runs a training or validation script, timm's own or the bundled one, with our parts plugged in.

The script is loaded as a module and stays as it is. Before its `main()` is called, our flags are added to its parser,
and on that module alone `ClassificationTask`, `create_dataset` and `create_loader` are replaced by ours.
"""

import argparse
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Sequence
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

from ..data.strict import CorruptImageError, StrictImageDataset
from ..errors import UserError
from ..task import FeatureClassificationTask, feature_dim
from .augmentation import add_augmentation_options, make_lsb_swap, swap_first
from .criterion import add_criterion_options, check_criterion, make_criterion
from .image_folders import add_data_options
from .precision import add_precision_options
from .preflight import check_before_start, explain_checkpoint
from .ranks import is_primary

_logger = logging.getLogger('train')


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
    path = find_script(name)
    script = load_script(path)
    script.parser.prog = f'timm-vipriors {name}'
    script.parser.usage = '%(prog)s DIR --model NAME [flags]   (%(prog)s --help lists them)'
    script.parser.set_defaults(device=default_device())
    if name == 'train':
        add_our_options(script.parser)
    with mock.patch.object(sys, 'argv', [script.parser.prog, *argv]):
        args = parse_args(script)
        class_to_idx = check_before_start(name, args, script.parser)
        plug_in(script, args, class_to_idx)
        with recorded_savers() as savers, explained_errors(args):
            script.main()
    if savers and savers[-1].best_epoch is not None:
        report_best(savers[-1], args.eval_metric)
    return 0


def find_script(name: str) -> Path:
    """The script: that of the checkout in `$TIMM_SCRIPTS`, or the bundled one where the variable is not set."""
    checkout = os.environ.get('TIMM_SCRIPTS')
    if not checkout:
        return Path(__file__).with_name(f'{name}.py')
    path = Path(checkout, f'{name}.py')
    if not path.is_file():
        raise UserError(
            f'TIMM_SCRIPTS is {checkout!r}, which has no {name}.py: point it at a checkout of pytorch-image-models, '
            f'or unset it to use the bundled script'
        )
    version_file = Path(checkout, 'timm', 'version.py')
    match = re.search(r"__version__ = '(.+)'", version_file.read_text()) if version_file.is_file() else None
    if match and match[1] != timm.__version__ and is_primary():
        print(
            f'warning: the scripts in TIMM_SCRIPTS are of timm {match[1]}, installed is timm {timm.__version__}',
            file=sys.stderr,
        )
    return path


def load_script(path: Path) -> ModuleType:
    """Load a script as a module of its own, without running its `main()`."""
    spec = importlib.util.spec_from_file_location(f'{path.stem}_script', path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # worker processes look classes up by module name
    spec.loader.exec_module(script)
    missing = [attr for attr in ('parser', 'main', 'create_dataset', 'create_loader') if not hasattr(script, attr)]
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


def default_device() -> str:
    """The best device there is: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return 'cuda'
    return 'mps' if torch.backends.mps.is_available() else 'cpu'


def parse_args(script: ModuleType) -> argparse.Namespace:
    """The script's arguments, as it will parse them itself."""
    try:
        return script._parse_args()[0] if hasattr(script, '_parse_args') else script.parser.parse_args()
    except FileNotFoundError as e:  # of --config
        raise UserError(f'{e.filename} does not exist') from e


def plug_in(script: ModuleType, args: argparse.Namespace, class_to_idx: dict[str, int] | None) -> None:
    """Put our task, data set and loader in the places where the script looks for timm's.

    Args:
        script: The script's module.
        args: Its arguments.
        class_to_idx: The classes of the evaluation, where its own folders would number them otherwise.
    """
    flags = check_criterion(args)
    swap = make_lsb_swap(args) if hasattr(args, 'lsb_swap') else None  # a validation script has no such flag
    batches_per_epoch = None

    def make_task(
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
        return StrictImageDataset.of(dataset) if type(dataset) is ImageDataset else dataset

    def make_loader(*loader_args: Any, **kwargs: Any) -> Any:
        if kwargs.get('num_workers') == 0:  # timm before 1.0.31 asks for persistent workers where there are none
            kwargs['persistent_workers'] = False
        loader = create_loader(*loader_args, **kwargs)
        if kwargs.get('is_training'):
            nonlocal batches_per_epoch
            batches_per_epoch = len(loader)
            if swap is not None:
                swap_first(swap, loader.dataset)
                if is_primary():
                    _logger.info(f'LSB swap: {swap.k} low bits from another image, with probability {swap.p:g}')
        return loader

    create_dataset, create_loader = script.create_dataset, script.create_loader
    script.create_dataset, script.create_loader = make_dataset, make_loader
    if hasattr(script, 'ClassificationTask'):
        script.ClassificationTask = make_task


@contextmanager
def recorded_savers():
    """Yield a list that fills with the checkpoint savers the script makes; they know its folder and best epoch."""
    savers = []

    class RecordedSaver(utils.CheckpointSaver):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            savers.append(self)

    with mock.patch.object(utils, 'CheckpointSaver', RecordedSaver):
        yield savers


@contextmanager
def explained_errors(args: argparse.Namespace):
    """Turn what a user can cause inside the script into one sentence."""
    try:
        yield
    except CorruptImageError as e:
        raise UserError(e.sentence) from e
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
