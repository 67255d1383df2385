"""What happens to timm when a run starts: the one class whose methods stand in for the parts that a script looks up.

A script is loaded as a module and stays as it is. While its `main()` runs, `Plugin.installed` puts each method below in
the place of timm's part of the same name, in that module alone, and puts timm's back at the end. None of them relies on
the order in which a script calls the others.
"""

import argparse
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import timm.data
import timm.models
import torch
from timm import utils
from timm.data.dataset import ImageDataset
from timm.data.loader import PrefetchLoader
from timm.data.readers.reader_image_folder import ReaderImageFolder
from timm.utils import unwrap_model
from torch import nn
from torch.utils.data import IterableDataset

from ..checkpoint import DATA_KEYS
from ..data import CachedImageDataset, LSBSwap, Shrink
from ..data.datasets import StrictImageDataset, drop_hidden
from ..data.seeding import seed_loader
from ..data.transforms import posterize_to_a_bit
from ..errors import UserError, user_errors
from ..files import first_line
from ..inference.metrics import balanced_accuracy
from ..loss import TreeSupervisionLoss
from ..task import FeatureClassificationTask, feature_dim
from .kept_batches import KeptBatches
from .learning_rate import effective_batch
from .loggers import Loggers
from .loss_spec import LossSpec
from .nonfinite import LossGuard
from .ranks import is_primary, rank, world_size
from .saving import LAST, Saver
from .swap import swap_first

_logger = logging.getLogger('train')
TIMM_VERSION = tuple(map(int, timm.__version__.split('.')[:3]))


class Plugin:
    """Our parts for one run of timm's training or validation script, whose checked arguments are `args`.

    Attributes:
        loss: The loss of --criterion; None leaves the script's own.
        swap: LSB swap for the training images, or None.
        class_names: The classes in the order of the logits, and `class_counts` the training images of each, or None.
        resuming: Whether the run's folder may hold its beginning.
        description: What checkpoints of the run say about it, known when the model is.
        saver: The saver that the script made, or None.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        loss: LossSpec | None = None,
        swap: LSBSwap | None = None,
        class_names: list[str] | None = None,
        class_counts: list[int] | None = None,
        resuming: bool = False,
    ) -> None:
        self.args, self.loss, self.swap, self.resuming = args, loss, swap, resuming
        self.class_names, self.class_counts = class_names, class_counts
        self.description: dict[str, Any] = {}
        self.saver: Saver | None = None
        self.guard = LossGuard(skip=args.nonfinite == 'skip')
        self.loggers = Loggers(args)
        self._task: FeatureClassificationTask | None = None
        self._batches: int | None = None
        self._validated: list[tuple[torch.Tensor, torch.Tensor]] = []  # of each batch

    @contextmanager
    def installed(self, script: ModuleType) -> Iterator[None]:
        """Put our parts in the places where a script looks for timm's, and timm's back at the end."""
        parts = dict(
            create_model=self.create_model,
            create_dataset=self.create_dataset,
            create_loader=self.create_loader,
            create_naflex_loader=self.create_naflex_loader,
            ClassificationTask=self.classification_task,
        )
        in_utils = dict(
            CheckpointSaver=self.checkpoint_saver, update_summary=self.update_summary, get_outdir=self.get_outdir
        )
        if not hasattr(script, 'train_one_epoch'):  # a validation script; timm's looks `accuracy` up in itself
            in_utils = dict(accuracy=self.accuracy)
            parts |= dict(validate=partial(self.validate, script.validate), accuracy=self.accuracy)
        parts['utils'] = SimpleNamespace(**{**vars(utils), **in_utils})
        parts = {name: part for name, part in parts.items() if hasattr(script, name)}
        # timm's saver lists the checkpoints after each epoch
        quiet = mock.patch.object(logging.getLogger(utils.CheckpointSaver.__module__), 'info')
        try:
            with quiet, mock.patch.multiple(script, print=self.print, create=True, **parts):
                yield
                if self.saver is not None:
                    self.saver.finish()
        finally:
            self.loggers.close()
            self.guard.close()
            if world_size() > 1:
                # gloo's thread needs the interpreter's lock to release its last tensors, and torch (2.11) holds the
                # lock while it waits for that thread to end, which it does when the last task is deleted
                time.sleep(0.1)
            self._task = None
        if self.guard.skipped and is_primary():
            _logger.warning(f'{self.guard.skipped} updates in all were skipped: a gradient was not finite')

    def print(self, *values: Any, **kwargs: Any) -> None:
        """Python's own, without the JSON that timm's train.py prints at its end, which summary.csv has."""
        if self.saver is None or not str(*values[:1]).startswith('--result'):
            print(*values, **kwargs)

    def accuracy(self, output: torch.Tensor, target: torch.Tensor, topk: Sequence[int] = (1,)) -> list[torch.Tensor]:
        """timm's `accuracy`, and a note of the targets and of which predictions are right."""
        self._validated.append((output.argmax(dim=1).eq(target).cpu(), target.cpu()))
        return utils.accuracy(output, target, topk)

    def validate(self, own: Callable[..., dict], *args: Any, **kwargs: Any) -> dict:
        """The validation script's own, with the balanced accuracy beside the top-1 accuracy."""
        self._validated = []
        results = own(*args, **kwargs)
        if self.args.real_labels or not self._validated:
            return results
        correct, targets = (torch.cat(parts).numpy() for parts in zip(*self._validated, strict=True))
        balanced = round(100 * balanced_accuracy(correct, targets), 4)
        logging.getLogger('validate').info(' * Balanced accuracy %.3f (the mean over the classes)', balanced)
        head = {key: value for key, value in results.items() if key.startswith(('model', 'top1'))}
        return OrderedDict({**head, 'balanced': balanced, **results})

    def create_model(self, *args: Any, **kwargs: Any) -> nn.Module:
        """timm's `create_model`; what the checkpoints will say about the model and its images is noted."""
        try:
            model = timm.models.create_model(*args, **kwargs)
        except Exception as e:  # models have asserts, a TypeError for an argument that they do not know, and more
            gp, given = self.args.gp, self.args.model_kwargs
            if not (gp or given) or 'loading state_dict' in str(e):
                raise
            flags = f'--gp {gp}' * bool(gp) + ' --model-kwargs' * bool(given)
            flags += ''.join(f' {key}={value}' for key, value in given.items())
            raise UserError(f'{self.args.model} cannot be made with {flags.strip()}: {first_line(e)}') from e
        config = timm.data.resolve_data_config(vars(self.args), model=model)
        self.description = {
            'model': self.args.model,
            'model_kwargs': dict(self.args.model_kwargs),
            'gp': self.args.gp,
            'num_classes': model.num_classes,
            'class_names': self.class_names,
            **{key: config[key] for key in DATA_KEYS},
        }
        return model

    def create_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """timm's `create_dataset`, where a broken image is an error, and all splits count the same classes."""
        if self.class_names is not None:
            kwargs['class_map'] = {name: index for index, name in enumerate(self.class_names)}
        dataset = timm.data.create_dataset(*args, **kwargs)
        if type(dataset) is not ImageDataset:
            return dataset
        if isinstance(dataset.reader, ReaderImageFolder):
            drop_hidden(dataset.reader, kwargs.get('class_map'))
            shrink = self._shrink() if kwargs.get('is_training') else None
            return CachedImageDataset.of(dataset, self.args.cache, shrink=shrink)
        if self.args.cache != 'off':
            _logger.warning('--cache has no effect: it keeps images of folders, not of archives')
        return StrictImageDataset.of(dataset)

    def _shrink(self) -> Shrink | None:
        """What --cache-shrink makes of training images: enough for the crops of the largest size there is."""
        if not self.args.cache_shrink:
            return None
        config = self.description or timm.data.resolve_data_config(vars(self.args))
        size = max(*config['input_size'][1:], *(self.args.train_img_sizes or []))
        if self.args.no_aug:
            return Shrink(size, 1.0, 1.0)
        return Shrink(size, self.args.scale[0], min(self.args.ratio[0], 1 / self.args.ratio[1]))

    def create_loader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> Any:
        """timm's `create_loader`; in training random numbers follow from seed and epoch, and LSB swap comes first.

        Training's workers begin the next epoch while this one is evaluated, whose images are read once.
        """
        if kwargs.get('num_workers') == 0:  # timm before 1.0.31 asks for persistent workers where there are none
            kwargs['persistent_workers'] = False
        if not is_training and self.description:  # timm's train.py leaves it out, its validate.py does not
            kwargs.setdefault('crop_mode', self.description['crop_mode'])
        if is_training and self._can_begin_early(*args[:1], **kwargs):
            kwargs['use_multi_epochs_loader'] = True
        with posterize_to_a_bit():
            loader = timm.data.create_loader(*args, is_training=is_training, **kwargs)
        if not is_training and self.args.epochs > 1:
            if isinstance(loader, PrefetchLoader):
                loader.loader = KeptBatches(loader.loader)  # before they are made floats
            else:
                loader = KeptBatches(loader)
        if is_training:
            if self.swap is not None:
                swap_first(self.swap, loader.dataset)
            seed_loader(loader, self.args.seed, rank(), None if self.swap is None else self.swap.forget)
            self._batches = len(loader)
            self.guard.follow(loader)
            self._tell_tree()
        return loader

    def _can_begin_early(self, dataset: Any, num_workers: int = 1, input_size_choices: Any = None, **_: Any) -> bool:
        """Whether a loader may ask for images of an epoch before the script has begun it."""
        return (
            num_workers > 0
            and not self.args.mixup_off_epoch  # which ends mixup when the epoch has begun
            and not isinstance(dataset, IterableDataset)
            and not input_size_choices
            and TIMM_VERSION >= (1, 0, 31)  # before, the loader did not tell the sampler the epoch
        )

    def create_naflex_loader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> Any:
        """timm's `create_naflex_loader`, whose workers get other random numbers for each seed and rank in training."""
        loader = timm.data.create_naflex_loader(*args, is_training=is_training, **kwargs)
        if is_training:
            seed_loader(loader, self.args.seed, rank())
        return loader

    def classification_task(
        self,
        model: nn.Module,
        criterion: nn.Module | None = None,
        criterion_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> FeatureClassificationTask:
        """Our task with the loss of --criterion, or with the script's own."""
        smoothing = 0.0
        with user_errors():
            if self.loss is not None:
                classes = unwrap_model(model).num_classes
                images = effective_batch(self.args, world_size())
                criterion = self.loss.build(classes, feature_dim(model), self.class_names, images, self.class_counts)
                smoothing = self.args.smoothing  # of class indices; the labels of mixup come smoothed
            elif criterion is None:  # scripts since timm 1.0.30 may leave the making to the task
                criterion = timm.loss.create_classification_loss(**(criterion_kwargs or {}))
            about = dict(smoothing=smoothing, description=self.description)
            task = FeatureClassificationTask(model, criterion, **about, **kwargs)
        self.guard.watch(task)
        self._task = task
        self._tell_tree()
        return task

    def _tell_tree(self) -> None:
        """Tell a tree that grows with the epochs how many batches one has, once both are known."""
        if self._task is None or self._batches is None:
            return
        for module in self._task.get_trainable_module().modules():
            if isinstance(module, TreeSupervisionLoss) and module.steps_per_epoch is None:
                module.steps_per_epoch = self._batches

    def checkpoint_saver(self, *args: Any, **kwargs: Any) -> Saver:
        """Our saver, which takes up the folder's checkpoints where the run resumes in it."""
        self.saver = Saver(*args, **kwargs)
        last = os.path.join(self.saver.checkpoint_dir, LAST)
        resumed = self.args.resume
        if self.resuming or (resumed and os.path.realpath(resumed) == os.path.realpath(last)):
            self.saver.take_up()
        return self.saver

    def update_summary(
        self, epoch: int, train_metrics: dict, eval_metrics: dict | None, filename: str, **kwargs
    ) -> None:
        """timm's `update_summary`, with one header: timm's script writes another after each resume. Logs it, too."""
        if self.saver is not None:
            self.saver.finish()  # at most one record is ahead of the checkpoints
        folder = os.path.dirname(filename)
        kwargs |= dict(write_header=not os.path.exists(filename), log_wandb=self.loggers.start_wandb(folder))
        utils.update_summary(epoch, train_metrics, eval_metrics, filename, **kwargs)
        metrics = {'train': train_metrics, 'eval': eval_metrics or {}}
        self.loggers.log_tensorboard(folder, epoch, metrics, kwargs.get('lr'))

    def get_outdir(self, *paths: str, inc: bool = False) -> str:
        """timm's `get_outdir`, but two runs without a name that start in the same second get a folder each."""
        return utils.get_outdir(*paths, inc=inc or not self.args.experiment)
