"""Looks at the image folders before a training starts: a block that says what is there, and errors for what is not."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool

from timm.data import create_dataset
from timm.data.dataset_factory import _search_split
from timm.data.readers.reader_image_folder import ReaderImageFolder

from ..data.datasets import CorruptImageError, check_is_file, decode
from ..errors import UserError
from ..files import progress
from .learning_rate import describe_update
from .precision import precision_warning
from .ranks import is_primary, world_size


def add_data_options(group: argparse._ActionsContainer) -> None:
    """Add our flag to a training script's."""
    group.add_argument(
        '--check-images', action='store_true', help='decode every image before the start, and name those that fail'
    )


def check_folders(name: str, args: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, int] | None:
    """Check the folders of a script's splits. Of those of a training say what is there.

    Args:
        name: 'train' or 'validate'.
        args: The script's arguments.
        parser: The script's parser, which gets the number of classes where the arguments do not give it.

    Returns:
        The classes of the training, where those of the validation differ; otherwise None.

    Raises:
        UserError: If there is nothing to train on, or the folders contradict the arguments.
    """
    root = args.data_dir or args.data
    splits = {'train': args.train_split, 'validation': args.val_split} if name == 'train' else {'': args.split}
    readers = {kind: find_images(root, split, args.class_map) for kind, split in splits.items() if split}
    reader = next(iter(readers.values()))
    if not isinstance(reader, ReaderImageFolder):
        return None  # images in a tar file
    if name == 'train':
        check_splits(root, splits, readers)
        if is_primary():
            print(describe(root, readers, args), file=sys.stderr)
        check_batches(len(reader), args.batch_size)
        if args.check_images and is_primary():
            check_images(readers)
    if args.class_map:
        return None
    check_classes(reader, args, parser)
    same = all(other.class_to_idx == reader.class_to_idx for other in readers.values())
    return None if same else reader.class_to_idx


def find_images(root: str, split: str, class_map: str) -> ReaderImageFolder:
    """timm's reader of a split, or a UserError that says what is missing."""
    if not os.path.exists(root):
        raise UserError(f'the data folder {root} does not exist')
    try:
        return create_dataset('', root=root, split=split, class_map=class_map).reader
    except (RuntimeError, AssertionError) as e:
        if class_map and 'class map' in str(e):
            raise UserError(f'--class-map {class_map}: {e}') from e
        where = _search_split(root, split)
        raise UserError(
            f'no images for the split {split!r} in {where}: expected a folder for each class there, with its images'
        ) from e
    except Exception as e:  # a tar file or class map that is none can raise anything
        # a name such as ² is one, too: timm takes it for a number when it sorts
        files = f'{root} with the class map {class_map}' if class_map else root
        raise UserError(f'timm cannot read the images of {files}: {e or type(e).__name__}') from e


def check_splits(root: str, splits: dict[str, str], readers: dict[str, ReaderImageFolder]) -> None:
    """Raise if the splits are one and the same folder, or have no class in common."""
    if len(readers) < 2:
        return
    for kind, split in splits.items():
        if os.path.isdir(root) and _search_split(root, split) == root:
            raise UserError(
                f'{root} has no folder for the split {kind!r}: expected {root}/train and {root}/validation, each '
                f"with a folder for each class (--val-split '' trains without validation)"
            )
    train, validation = (set(reader.class_to_idx) for reader in readers.values())
    if not train & validation:
        raise UserError(
            f'train and validation have no class in common: {listed(train)}; {listed(validation)}. The class folders '
            f'must have the same names in both'
        )


def count_batches(images: int, batch_size: int) -> tuple[int, int, str]:
    """The batches of an epoch on each device, the images that each leaves over, and the words for the devices."""
    devices = world_size()
    # the sampler of a distributed run evens the devices out by repeating some
    batches, over = divmod(-(-images // devices), batch_size)
    return batches, over, f' on each of {devices} devices' if devices > 1 else ''


def check_batches(images: int, batch_size: int) -> None:
    """Raise if an epoch would have no batch."""
    batches, over, devices = count_batches(images, batch_size)
    if not batches:
        raise UserError(
            f'{images} training images are fewer than one batch of {batch_size}{devices}, and an incomplete batch is '
            f'dropped: use --batch-size {over} or less'
        )


def check_classes(reader: ReaderImageFolder, args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raise if --num-classes contradicts the folders; without it, make their number the default."""
    classes = len(reader.class_to_idx)
    if args.num_classes is None:
        parser.set_defaults(num_classes=classes)
        args.num_classes = classes
    elif args.num_classes != classes:
        raise UserError(
            f'--num-classes {args.num_classes} contradicts the data: {reader.root} has {classes} class folders. '
            f'Leave it out, or give a --class-map'
        )


def check_images(readers: dict[str, ReaderImageFolder]) -> None:
    """Decode every image, in threads, and raise a UserError that names those that cannot be."""
    paths = [path for reader in readers.values() for path, _ in reader.samples]

    def error(path: str) -> str | None:
        try:
            check_is_file(path)
            with open(path, 'rb') as file:
                decode(file, path)
        except (CorruptImageError, OSError) as e:
            return str(e)
        return None

    with ThreadPool(2 * (os.cpu_count() or 1)) as threads:
        errors = [e for e in progress(threads.imap(error, paths, chunksize=16), len(paths), 'Checking images') if e]
    if errors:
        more = f'\n  and {len(errors) - 20:,} more' if len(errors) > 20 else ''
        raise UserError(
            f'{len(errors):,} of {len(paths):,} images cannot be read; replace or remove them:\n  '
            + '\n  '.join(errors[:20])
            + more
        )
    print(f'  all {len(paths):,} images can be read', file=sys.stderr)


def describe(root: str, readers: dict[str, ReaderImageFolder], args: argparse.Namespace) -> str:
    """What there is to train on and to validate with, in which steps, and what is odd about it, in a few lines."""
    counts = {kind: count_images(reader) for kind, reader in readers.items()}
    rows = []
    for kind, reader in readers.items():
        each = [n for n in counts[kind].values() if n]
        span = f'{min(each):,}' if min(each) == max(each) else f'{min(each):,} to {max(each):,}'
        rows.append((kind, f'{len(reader):,} images', f'{len(each):,} classes', f'{span} in each', reader.root))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f'Data in {root}']
    for kind, images, classes, span, where in rows:
        lines.append(
            f'  {kind:{widths[0]}}  {images:>{widths[1]}}  {classes:>{widths[2]}}  {span:{widths[3]}}  {where}'
        )
    batches, over, devices = count_batches(len(readers['train']), args.batch_size)
    left_out = f', {plural(over, "image", "images")} left over' if over and batches else ''
    lines.append(f'  an epoch is {plural(batches, "batch", "batches")} of {args.batch_size:,}{devices}{left_out}')
    lines.append(f'  {describe_update(args, world_size())}')
    found = [*warnings(readers, counts), *([warning] if (warning := precision_warning(args)) else [])]
    lines += [f'  warning: {warning}' for warning in found]
    return '\n'.join(lines)


def warnings(readers: dict[str, ReaderImageFolder], counts: dict[str, dict[str, int]]) -> list[str]:
    """A sentence for each thing that a user may not have meant."""
    found = []
    for kind, reader in readers.items():
        empty = {name for name, n in counts[kind].items() if not n} | empty_folders(reader)
        if empty:
            found.append(f'{kind} has no images of {plural(len(empty), "class", "classes")}: {listed(empty)}')
    if len(readers) == 2:
        train, validation = ({name for name, n in by_class.items() if n} for by_class in counts.values())
        if missing := train - validation:
            found.append(
                f'{plural(len(missing), "class", "classes")} of train cannot be evaluated, validation has no images: '
                f'{listed(missing)}'
            )
        if unknown := validation - train:
            images = sum(counts['validation'][name] for name in unknown)
            found.append(
                f'{plural(len(unknown), "class", "classes")} of validation, not in train: {listed(unknown)}; '
                f'{plural(images, "image is", "images are")} left out of the evaluation'
            )
    return found


def count_images(reader: ReaderImageFolder) -> dict[str, int]:
    """The number of images of each class."""
    by_index = Counter(target for _, target in reader.samples)
    return {name: by_index[index] for name, index in reader.class_to_idx.items()}


def empty_folders(reader: ReaderImageFolder) -> set[str]:
    """The names of the folders below a split that would be a class if they had images."""
    names = set()
    for folder, subfolders, _ in os.walk(reader.root, followlinks=True):
        name = os.path.basename(folder)
        if not subfolders and folder != reader.root and name not in reader.class_to_idx and not name.startswith('.'):
            names.add(name)
    return names


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many there are more."""
    names = sorted(names)
    more = f' and {len(names) - most:,} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def plural(number: int, one: str, many: str) -> str:
    return f'{number:,} {one if number == 1 else many}'
