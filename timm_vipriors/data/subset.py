"""Small class-balanced, disjoint splits of an image folder, as links or copies, with a manifest that makes them again.

A plan comes first: the rows of the manifest, class by class, go to a temporary file. So whatever is wrong shows before
the target is touched, and no more than the names of one class are in memory.
"""

import os
import random
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from ..errors import UserError
from ..files import progress
from .subset_manifest import MANIFEST, Row, check_split_name, is_utf8, listed_rows, shown, write_manifest
from .subset_tree import find_manifest, make_tree

_SPLIT_NAMES = {'train', 'training', 'val', 'valid', 'validation', 'eval', 'test'}


def make_subset(
    source: str | os.PathLike,
    root: str | os.PathLike,
    splits: Mapping[str, int | float] | None = None,
    *,
    seed: int = 0,
    lists: str | os.PathLike | Mapping[str, str | os.PathLike] | None = None,
    copy: bool = False,
) -> dict[str, int]:
    """Make disjoint splits of an ImageFolder, with the same number of images of every class, or those of a list.

    Images `source/<class>/<file>` become `root/<split>/<class>/<file>`, and `root/manifest.csv` lists them, within a
    class and split in the order of the choice. The choice: the names of a class are sorted, then shuffled by the seed
    and the class's name; the first images go to the first split, the next to the second and so on. So it depends on
    no other class and no file system, and the first split with a smaller number is a part of that with a larger one.

    A call that was stopped goes on when it is made again; where all is there, it only checks that. Nothing is
    overwritten, and nothing is written to the source.

    Args:
        source: The folder with a folder for each class. Images lie directly in these, and end as timm has it.
        root: The folder to make. It must not exist, be empty, or hold this very subset or a part of it.
        splits: Images of each class, by the split's name: numbers, or parts of the class below or equal to 1.0, which
            are rounded so that parts of 1.0 in all leave no image out.
        seed: Seed of the choice.
        lists: In place of `splits` the images themselves: a manifest (CSV with the header `split,class,file`), or
            by the split's name files with the columns `class,file` or with lines `class/file`.
        copy: Copy the images, which by default are linked to (symbolic links, absolute). A copy that is there already
            is taken to be right if it has the size of the image.

    Returns:
        The number of images by split.

    Raises:
        UserError: If the source is no ImageFolder or has too few images, a list is wrong, the target holds anything
            else, or an argument is out of range.
        OSError: If a file cannot be read or written. What was made stays, and can be gone on with.
    """
    from timm.data import get_img_extensions

    source, root = os.fspath(source), os.fspath(root)
    suffixes = get_img_extensions(as_set=True)
    if bool(splits) == bool(lists):
        raise UserError(
            'say which images: how many of each class (--per-class, --splits), or --list FILE, and not both'
        )
    for split, number in (splits or {}).items():
        check_split_name(split)
        if not (_is_part(number) or (isinstance(number, int) and not isinstance(number, bool) and number >= 1)):
            raise UserError(
                f'the number of images of the split {split!r} must be at least 1, or a part of the class as a float up '
                f'to 1.0, got {number!r}'
            )
    parts = [number for number in (splits or {}).values() if _is_part(number)]
    if parts and (len(parts) < len(splits) or sum(parts) > 1 + 1e-9):
        raise UserError(f'the splits must be numbers, or parts of 100 % together at most, and not both: {splits}')
    classes = _class_folders(source, root)
    find_manifest(root)  # a folder of somebody else's shows before a long search for images
    rows = _chosen_rows(source, classes, splits, seed, suffixes) if splits else listed_rows(source, lists, suffixes)
    with tempfile.TemporaryDirectory(prefix='timm-vipriors-') as folder:
        plan = os.path.join(folder, MANIFEST)
        counts = write_manifest(plan, rows)
        make_tree(source, root, plan, copy, total=sum(counts.values()))
    return counts


def parse_splits(text: str | None, per_class: int | None) -> dict[str, int | float]:
    """The numbers in `train=50,val=50` or `train=80%,val=20%`.

    A split without one has `per_class`; so have train and val without a text.
    """
    if per_class is not None and per_class < 1:
        raise UserError(f'--per-class must be at least 1, got {per_class}')
    splits: dict[str, int | float] = {}
    for part in ('train,val' if text is None else text).split(','):
        name, equals, number = (x.strip() for x in part.partition('='))
        if name in splits:
            raise UserError(f'--splits names {name!r} twice')
        if not equals and per_class is None:
            raise UserError(f'--splits has no number for {name!r}: write {name}=N, or give --per-class N for all')
        if equals and not re.fullmatch('[0-9]{1,18}%?', number):
            raise UserError(f'--splits expects whole numbers as in train=50,val=50 or train=80%,val=20%, got {part!r}')
        if number.endswith('%'):
            splits[name] = int(number[:-1]) / 100
        else:
            splits[name] = int(number) if equals else per_class
    return splits


def parse_lists(values: Sequence[str]) -> str | dict[str, str]:
    """The `lists` of `make_subset` from the values of --list: one FILE, or SPLIT=FILE any number of times."""
    if len(values) == 1 and ('=' not in values[0] or os.path.exists(values[0])):
        return values[0]
    lists: dict[str, str] = {}
    for value in values:
        split, equals, path = value.partition('=')
        if not equals:
            raise UserError(f'--list takes one FILE, or any number of SPLIT=FILE, got {value!r} among several')
        if split in lists:
            raise UserError(f'--list names the split {split!r} twice')
        lists[split] = path
    return lists


def _class_folders(source: str, root: str) -> list[str]:
    """The names of the classes, sorted."""
    if not os.path.isdir(source):
        problem = 'is not a folder' if os.path.lexists(source) else 'does not exist'
        raise UserError(f'{shown(source)} {problem}: expected a folder with a folder for each class')
    _check_apart(source, root)
    names = []
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name.startswith('.') or not entry.is_dir():
                continue
            _check_utf8(entry)
            if entry.is_symlink():
                _check_apart(entry.path, root)
            names.append(entry.name)
    if not names:
        raise UserError(f'{shown(source)} has no class folders: expected its images as SRC/CLASS/FILE')
    names.sort()
    if all(n.lower() in _SPLIT_NAMES for n in names) and any(_has_folders(os.path.join(source, n)) for n in names):
        split = next((name for name in names if name.lower().startswith('train')), names[0])
        raise UserError(
            f'{shown(source)} holds splits ({", ".join(names)}) and not classes, name the split: '
            f'{shown(os.path.join(source, split))}'
        )
    return names


def _check_apart(images: str, root: str) -> None:
    """Raise if the target lies among the images, and making it would change the source, or the other way round."""
    inner, outer = os.path.realpath(images), os.path.realpath(root)
    if os.path.commonpath([inner, outer]) in (inner, outer):
        raise UserError(f'{shown(root)} and {shown(images)} must not lie one in the other: name a folder elsewhere')


def _check_utf8(entry: os.DirEntry) -> None:
    if not is_utf8(entry.name):
        raise UserError(f'{entry.path!a}: the name is not in UTF-8, which the manifest is: rename it')


def _has_folders(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(entry.is_dir() and not entry.name.startswith('.') for entry in entries)


def _image_names(folder: str, suffixes: Collection[str]) -> list[str]:
    """The names of the images in a class folder, sorted."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith('.'):
                continue
            if entry.is_dir():
                raise UserError(
                    f'{shown(entry.path)} is a folder in a class folder: expected SRC/CLASS/FILE, no deeper'
                )
            if os.path.splitext(entry.name)[1].lower() not in suffixes:
                continue
            if not entry.is_file():  # without it the choice would be another one, silently and perhaps only today
                raise UserError(f'{shown(entry.path)} is a link that leads nowhere, or no file: repair or remove it')
            _check_utf8(entry)
            names.append(entry.name)
    return sorted(names)


def _chosen_rows(
    source: str, classes: Sequence[str], splits: Mapping[str, int | float], seed: int, suffixes: Collection[str]
) -> Iterator[Row]:
    """The rows of a random choice. It looks at all classes before it fails for those with too few images."""
    short = {}
    for name in progress(classes, len(classes), 'choosing', unit='folder'):
        images = _image_names(os.path.join(source, name), suffixes)
        counts = _counts(splits, len(images))
        if sum(counts.values()) > len(images) or min(counts.values()) < 1:
            short[name] = len(images)
            continue
        random.Random(f'{seed}/{name}').shuffle(images)
        rest = iter(images)
        for split, number in counts.items():
            yield from ((split, name, file) for file in islice(rest, number))
    if short:
        some = ', '.join(f'{name!r} has {count}' for name, count in islice(short.items(), 5))
        more = f' and {len(short) - 5} more' if len(short) > 5 else ''
        if any(_is_part(number) for number in splits.values()):
            parts = ' + '.join(f'{number:.0%} for {split}' for split, number in splits.items())
            problem = f'too few images for one or more in each split ({parts})'
        else:
            numbers = ' + '.join(f'{number} for {split}' for split, number in splits.items())
            problem = f'fewer than the {sum(splits.values())} images needed ({numbers})'
        raise UserError(
            f'{len(short)} of {len(classes)} classes in {shown(source)} have {problem}: {some}{more}. Use smaller '
            f'numbers (--per-class, --splits), or take these folders away. Images end in {", ".join(sorted(suffixes))}'
        )


def _counts(splits: Mapping[str, int | float], images: int) -> dict[str, int]:
    """The images of each split in a class of so many. Parts end at rounded places, so none overlap and none is lost."""
    ends = {}
    end = 0
    for split, number in splits.items():
        end += number
        ends[split] = round(end * images) if _is_part(number) else end
    return {split: there - before for (split, there), before in zip(ends.items(), [0, *ends.values()], strict=False)}


def _is_part(number: object) -> bool:
    return isinstance(number, float) and 0 < number <= 1
