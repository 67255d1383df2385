"""Looks at the image folders before a script starts: a block that says what is there, and errors for what is not."""

import argparse
import os
import shlex
import sys
from collections import Counter
from multiprocessing.pool import ThreadPool

from timm.data import create_dataset
from timm.data.dataset_factory import _search_split
from timm.data.readers.reader_image_folder import ReaderImageFolder

from ..data.datasets import (
    CorruptImageError,
    check_is_file,
    decode,
    describe_skipped,
    drop_hidden,
    register_image_extensions,
    skipped_files,
)
from ..errors import UserError
from ..files import first_line, first_names, percent, plural, progress, text_table
from .ranks import world_size

_MOST_LISTED = 20  # broken images


def find_images(root: str, split: str, class_map: str = '') -> ReaderImageFolder:
    """timm's reader of a split; a UserError says what is missing."""
    if not os.path.exists(root):
        raise UserError(f'the data folder {root} does not exist')
    try:
        register_image_extensions()
        reader = create_dataset('', root=root, split=split, class_map=class_map).reader
    except Exception as e:  # a tar file or class map that is none can raise anything
        if isinstance(e, RuntimeError | AssertionError) and not class_map:
            raise UserError(
                f'no images for the split {split!r} in {_search_split(root, split)}: expected a folder for each class '
                f'there, with its images'
            ) from e
        files = f'{root} with the class map {class_map}' if class_map else root
        raise UserError(f'timm cannot read the images of {files}: {first_line(e)}') from e
    if isinstance(reader, ReaderImageFolder):
        drop_hidden(reader, class_map)
    return reader


def check_split(root: str, split: str, kind: str) -> None:
    """Raise if timm would take the whole of a data folder for one of its splits."""
    if os.path.isdir(root) and _search_split(root, split) == root:
        photos = _search_split(root, 'train')  # the folder itself where it has no splits
        line = shlex.join(['timm-vipriors', 'subset', photos, f'{os.path.normpath(root)}-split'])
        raise UserError(
            f'{root} has no folder for the split {kind!r}: expected {root}/train and {root}/validation, each with a '
            f"folder for each class (--val-split '' trains without validation); `{line} --splits "
            f'train=80%,validation=20%` makes one'
        )


class Folders:
    """The image folders of a run, by what they are for: `splits` names those of 'train' and 'validation', or one.

    `class_names` are the classes in the order of their indices, those of the first split.
    """

    def __init__(self, root: str, splits: dict[str, str], class_map: str = '') -> None:
        self.root, self.splits = root, splits
        self.readers = {kind: find_images(root, split, class_map) for kind, split in splits.items() if split}
        first = next(iter(self.readers.values()))
        self.are_folders = isinstance(first, ReaderImageFolder)  # or a tar file
        names = first.class_to_idx if self.are_folders else {}
        self.class_names = sorted(names, key=names.get)
        if '' in names:
            raise UserError(
                f'{first.root} has images that lie in no class folder, which training and validation need: '
                f'`timm-vipriors subset --csv labels.csv --images {shlex.quote(first.root)} DATA` makes them of a '
                f'table of labels, and `timm-vipriors predict` does without'
            )
        self.counts: dict[str, Counter[str]] = {}  # of the images of each class that has any
        for kind, reader in self.readers.items() if self.are_folders else ():
            names = {index: name for name, index in reader.class_to_idx.items()}
            self.counts[kind] = Counter(names[target] for _, target in reader.samples)

    def check(self, batch_size: int) -> None:
        """Raise if the splits are one folder or share no class, or an epoch would have no batch."""
        if len(self.readers) > 1:
            for kind, split in self.splits.items():
                check_split(self.root, split, kind)
            train, validation = (set(counts) for counts in self.counts.values())
            if not train & validation:
                raise UserError(
                    f'train and validation have no class in common: {first_names(sorted(train))}; '
                    f'{first_names(sorted(validation))}. The class folders must have the same names in both'
                )
        batches, over, devices = self._batches(batch_size)
        if not batches:
            raise UserError(
                f'{self.counts["train"].total()} training images are fewer than one batch of {batch_size}{devices}, '
                f'and an incomplete batch is dropped: use --batch-size {over} or less'
            )

    def updates_per_epoch(self, args: argparse.Namespace) -> int:
        """How many updates an epoch has."""
        return -(-self._batches(args.batch_size)[0] // args.grad_accum_steps)

    def _batches(self, batch_size: int) -> tuple[int, int, str]:
        """The batches of an epoch on each device, the images that each leaves over, and words for the devices."""
        devices = world_size()
        # the sampler of a distributed run evens the devices out by repeating some
        batches, over = divmod(-(-self.counts['train'].total() // devices), batch_size)
        return batches, over, f' on each of {devices} devices' if devices > 1 else ''

    def describe(self, batch_size: int) -> list[str]:
        """What there is to train on and to validate with, in how many batches: lines for people."""
        rows = []
        for kind, counts in self.counts.items():
            low, high = min(counts.values()), max(counts.values())
            span = f'{low:,}' if low == high else f'{low:,} to {high:,}'
            number = f'{counts.total():,} images'
            rows.append((kind, number, f'{len(counts):,} classes', f'{span} in each', self.readers[kind].root))
        lines = [f'Data in {self.root}', *(f'  {line}' for line in text_table(rows, (0, 3, 4)).splitlines())]
        batches, over, devices = self._batches(batch_size)
        left_out = f', {plural(over, "image")} left over' if over and batches else ''
        return [*lines, f'  an epoch is {plural(batches, "batch", "batches")} of {batch_size:,}{devices}{left_out}']

    def warnings(self) -> list[str]:
        """A sentence for each thing that a user may not have meant."""
        found = []
        for kind, reader in self.readers.items():
            empty = {name for name in self.class_names if name not in self.counts[kind]} & set(reader.class_to_idx)
            empty |= _empty_folders(reader)
            if skipped := skipped_files(reader.root):
                found.append(f'{kind}: {describe_skipped(skipped)}')
            if empty:
                found.append(f'{kind} has no images of {_classes(empty)}')
        if len(self.counts) == 2:
            train, validation = self.counts.values()
            if missing := train.keys() - validation.keys():
                found.append(_classes(missing, ' of train cannot be evaluated, validation has no images'))
            if unknown := validation.keys() - train.keys():
                images = plural(sum(validation[name] for name in unknown), 'image is', 'images are')
                found.append(
                    f'{_classes(unknown, " of validation, not in train")}; {images} left out of the evaluation'
                )
        return found

    def check_images(self, mode: str) -> None:
        """Decode every image as the run will, in threads; raise a UserError that names those that fail."""
        paths = [path for reader in self.readers.values() for path, _ in reader.samples]

        def error(path: str) -> str | None:
            try:
                check_is_file(path)
                with open(path, 'rb') as file:
                    decode(file, path, mode)
            except (CorruptImageError, OSError) as e:
                return str(e)
            return None

        with ThreadPool(2 * (os.cpu_count() or 1)) as threads:
            errors = [e for e in progress(threads.imap(error, paths, chunksize=16), len(paths), 'Checking images') if e]
        if errors:
            more = f'\n  and {len(errors) - _MOST_LISTED:,} more' if len(errors) > _MOST_LISTED else ''
            raise UserError(
                f'{len(errors):,} of {len(paths):,} images cannot be read; replace or remove them:\n  '
                + '\n  '.join(errors[:_MOST_LISTED])
                + more
            )
        print(f'  all {len(paths):,} images can be read', file=sys.stderr)


def _classes(names: set[str], what: str = '') -> str:
    return f'{plural(len(names), "class", "classes")}{what}: {first_names(sorted(names))}'


def _empty_folders(reader: ReaderImageFolder) -> set[str]:
    """The names of the folders below a split that would be a class if they had images."""
    names = set()
    for folder, subfolders, _ in os.walk(reader.root, followlinks=True):
        name = os.path.basename(folder)
        if not subfolders and folder != reader.root and name not in reader.class_to_idx and not name.startswith('.'):
            names.add(name)
    return names


def averaging_warning(args: argparse.Namespace, updates: int) -> str | None:
    """What is wrong with --model-ema in a run of so many updates: the averages hardly leave the initial weights."""
    left = args.model_ema_decay**updates
    if not args.model_ema or args.model_ema_warmup or left < 0.05:
        return None
    return (
        f'after {updates:,} updates {percent(left, 0)} of the averaged weights are still the initial ones '
        f'(--model-ema-decay {args.model_ema_decay:g}): add --model-ema-warmup, or the log and model_best show a model '
        f'that is hardly trained'
    )


def precision_warning(args: argparse.Namespace) -> str | None:
    """What is wrong with the precision that the arguments ask for, or None."""
    if not (args.device.startswith('cpu') and args.amp and args.amp_dtype == 'float16'):
        return None
    slow = '--amp computes in float16, which is slow on the CPU and has no loss scaling there'
    return f'{slow}: add --no-amp, or --amp-dtype bfloat16'
