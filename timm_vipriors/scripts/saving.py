"""Checkpoints that survive kills and full disks: at no moment of a run is its folder without a whole one.

timm's saver writes to a temporary file, then removes the old checkpoint and renames the new one; a run killed in
between has none. A full disk leaves half a file. A resumed run of an older timm forgets which epoch was best.
"""

import copy
import glob
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import torch
from timm import utils
from torch.utils._pytree import tree_leaves

from ..errors import UserError
from ..files import atomic_write, first_line, read_checkpoint

LAST = 'last.pth.tar'
_TEMPORARY = ('tmp.pth.tar', 'recovery_tmp.pth.tar', 'copy.tmp')


class Saver(utils.CheckpointSaver):
    """timm's checkpoint saver, whose files are replaced atomically, and which saves nothing that is not finite.

    A thread writes the files from copies during training; `finish()` waits for it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._live = self.task, self.optimizer, self.amp_scaler
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future | None = None

    def save_checkpoint(self, epoch: int, metric: float | None = None) -> tuple[float | None, int | None]:
        """As timm's. What goes wrong in writing is raised by the next call, or by `finish()`."""
        self._freeze(epoch)
        better = metric is not None and (self.best_metric is None or self.cmp(metric, self.best_metric))
        best = (metric, epoch) if better else (self.best_metric, self.best_epoch)
        self._writing = self._writer.submit(super().save_checkpoint, epoch, metric)
        return best

    def save_recovery(self, epoch: int, batch_idx: int = 0) -> None:
        self._freeze(epoch)
        super().save_recovery(epoch, batch_idx)

    def finish(self) -> None:
        """Wait until the files are written.

        Raises:
            UserError: If they could not be.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _freeze(self, epoch: int) -> None:
        """Put copies of what is to be saved in the place of what training changes."""
        self.finish()
        if bad := _not_finite(self.model):
            raise UserError(
                f'epoch {epoch}: {bad} is not finite, so it was not saved; {self._what_is_there()}. A lower --lr or '
                f'--clip-grad 1 often helps'
            )
        task, optimizer, scaler = self._live
        states = {ema: _copied(task.get_checkpoint_state(ema=ema, unwrap_fn=self.unwrap_fn)) for ema in (False, True)}
        self.task = SimpleNamespace(get_checkpoint_state=lambda ema=False, **_: states[ema])
        self.optimizer, self.amp_scaler = _frozen(optimizer), scaler and _frozen(scaler)

    def _save(self, save_path: str, epoch: int, metric: float | None = None) -> None:
        try:
            super()._save(save_path, epoch, metric)
            with open(save_path, 'rb') as f:
                os.fsync(f.fileno())
        except (OSError, RuntimeError) as e:  # torch has a RuntimeError for a full disk
            _remove(save_path)
            raise UserError(
                f'{save_path} could not be written ({first_line(e)}): is the disk full? {self._what_is_there()}'
            ) from e

    def _replace(self, src: str, dst: str) -> None:
        os.replace(src, dst)
        _remove(src)  # replacing does nothing where both are names of one file

    def _duplicate(self, src: str, dst: str) -> None:
        # beside the old one, which it then replaces atomically
        copy = os.path.join(os.path.dirname(dst), 'copy.tmp')
        _remove(copy)
        super()._duplicate(src, copy)
        self._replace(copy, dst)

    def _what_is_there(self) -> str:
        last = os.path.join(self.checkpoint_dir, LAST)
        return f'{last} is the last checkpoint' if os.path.exists(last) else 'there is no checkpoint yet'

    def take_up(self) -> None:
        """Continue in the folder of a run that stopped: the checkpoints kept, the best of them, what was cut short."""
        for name in _TEMPORARY:
            _remove(os.path.join(self.checkpoint_dir, name))
        last = os.path.join(self.checkpoint_dir, LAST)
        if not os.path.exists(last):
            _remove(os.path.join(self.checkpoint_dir, 'summary.csv'))  # at most a row: see check_run_folder
            return
        epoch, metric = _epoch_and_metric(last)
        trim_summary(self.checkpoint_dir, epoch)
        kept = {}
        for path in glob.glob(os.path.join(glob.escape(self.checkpoint_dir), f'{self.save_prefix}-*{self.extension}')):
            number = re.fullmatch(r'.*-(\d+)', path.removesuffix(self.extension))
            if number and int(number[1]) < epoch:
                kept[int(number[1])] = (path, _epoch_and_metric(path)[1])
        self.checkpoint_files, self.best_metric, self.best_epoch = [], None, None
        for number, (path, value) in sorted(kept.items()):
            self.checkpoint_files.append((path, value))
            if value is not None and (self.best_metric is None or self.cmp(value, self.best_metric)):
                self.best_metric, self.best_epoch = value, number
        # as timm sorts them: by metric, of equal ones the earlier first
        self.checkpoint_files.sort(key=lambda item: item[1] if item[1] is not None else 0, reverse=not self.decreasing)
        # the run may have been cut short between the last checkpoint and the copies of it: timm's code makes them again
        self._save = lambda save_path, *_: self._duplicate(last, save_path)
        try:
            super().save_checkpoint(epoch, metric)
        finally:
            del self._save


def _frozen(thing: Any) -> SimpleNamespace:
    """What a saver takes from an optimizer or a loss scaler, as it is now."""
    state = _copied(thing.state_dict())
    return SimpleNamespace(state_dict=lambda: state, state_dict_key=getattr(thing, 'state_dict_key', None))


def _copied(state: Any) -> Any:
    """A copy of a state in the memory of the CPU."""
    tensors = [leaf for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor)]
    return copy.deepcopy(state, {id(tensor): tensor.detach().to('cpu', copy=True) for tensor in tensors})


def find_last(args: Any) -> str:
    """The checkpoint that `--resume auto` resumes from: the last of the experiment's folder, '' if there is none."""
    if not args.experiment:
        raise UserError('--resume auto needs --experiment NAME: it resumes the run of that name, or starts it')
    path = os.path.join(args.output or './output/train', args.experiment, LAST)
    return path if os.path.exists(path) else ''


def trim_summary(folder: str, epoch: int) -> None:
    """Keep the rows of summary.csv up to an epoch, each once: those of later epochs will be written again."""
    path = os.path.join(folder, 'summary.csv')
    if not os.path.exists(path):
        return
    with open(path, newline='', encoding='utf-8') as f:
        header, *rows = f.read().splitlines(keepends=True) or ['']
    kept: dict[int, str] = {}
    for row in rows:
        number = row.partition(',')[0]
        torn = not row.endswith('\n') or row.count(',') != header.count(',')
        if number.isdecimal() and int(number) <= epoch and not torn:
            kept[int(number)] = row
    if kept:  # else they are of another run
        with atomic_write(path) as partial:
            partial.write_text(''.join([header, *(kept[number] for number in sorted(kept))]), 'utf-8', newline='')


def _not_finite(module: torch.nn.Module) -> str | None:
    """The name of the first parameter or buffer that holds NaN or infinity."""
    tensors = {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
    if torch.stack([tensor.float().sum() for tensor in tensors.values()]).isfinite().all():
        return None
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)  # a sum may overflow


def _epoch_and_metric(path: str) -> tuple[int, float | None]:
    try:
        checkpoint = read_checkpoint(path, mmap=True, checksums=False)
        return int(checkpoint['epoch']), checkpoint.get('metric')
    except (ValueError, KeyError) as e:
        raise UserError(f'{path} is not a checkpoint of a training run: remove it, or resume from another one') from e


def _remove(path: str) -> None:
    if os.path.lexists(path):
        os.remove(path)
