"""Where the images of a subset come from: one image folder, or several with the same classes.

`labels` has the source for a table of labels, `timm_sets` the one for timm's data sets.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from timm.data.dataset_factory import _search_split

from ..errors import UserError
from ..files import first_names, plural, printable, progress
from .datasets import describe_skipped, image_extensions


@dataclass
class ImageSource:
    """Images by class and name.

    Example:
        >>> source = ImageSource('mine', {'cat': {'0.jpg': '/photos/cat/0.jpg'}}, ['/photos'])
        >>> source.images['cat']
        {'0.jpg': '/photos/cat/0.jpg'}
    """

    name: str  # what messages call it
    images: dict[str, dict[str, str]]  # the files, by class and by their names in it, which they keep in a subset
    folders: list[str]  # that the images lie in
    last: dict[str, set[str]] = field(default_factory=dict)  # by class those names that come from the last folder
    notes: list[str] = field(default_factory=list)  # sentences for the user about what was left out
    # gives images that are no files, for some of the values of `images` in ascending order
    read: Callable[[Sequence[str]], Iterator[Image.Image]] | None = None


def folder_source(*folders: str | os.PathLike, repeated: bool = False) -> ImageSource:
    """The images of `folder/<class>/<file>`; hidden files and folders are ignored.

    With several folders, images of a class with the same content are taken once, and those of the same name are told
    apart by the name of their folder: `0.jpg` in `A/train` and in `A/val` become `train_0.jpg` and `val_0.jpg`.

    Args:
        *folders: Image folders. A split of a data folder may have any of timm's names for it: `DATA/validation` is
            `DATA/val` where that is what exists.
        repeated: Take images of several folders that have the same content all the same, as a list of images needs it.

    Raises:
        UserError: If one is no image folder, is given twice, or has other classes than the others.
    """
    folders = [_find_folder(os.fspath(folder)) for folder in folders]
    labels, (classes, *others) = _labels(folders), map(_class_names, folders)
    for folder, names in zip(folders[1:], others, strict=True):
        if different := sorted(set(names) ^ set(classes)):
            raise UserError(
                f'{printable(folders[0])} and {printable(folder)} have different classes, '
                f'{first_names(different)} in one of them only: the class folders need the same names'
            )
    check_different(classes)
    skipped, images, last, dropped = Counter(), {}, {}, 0
    for name in progress(classes, len(classes), 'reading', unit='folder'):
        found = [_find_images(os.path.join(folder, name), skipped) for folder in folders]
        images[name] = _merged(dict(zip(labels, found, strict=True)))
        for file in () if repeated or len(folders) == 1 else _repeated(images[name]):
            del images[name][file]
            dropped += 1
        of_last = set(found[-1].values())
        last[name] = {file for file, path in images[name].items() if path in of_last}
    name = ', '.join(map(printable, folders))
    notes = [f'{name}: {describe_skipped(skipped)}'] if skipped else []
    if dropped:
        notes.append(f'{name}: {plural(dropped, "image")} left out, with the same content as another one of the class')
    places = [*folders, *(os.path.join(folder, label) for folder in folders for label in classes)]
    return ImageSource(name, images, places, last, notes)


def check_different(classes: Iterable[str]) -> None:
    """Raise if two class names differ only in letter case or in how Unicode composes their letters."""
    spelled: dict[str, str] = {}
    for name in classes:
        key = unicodedata.normalize('NFC', name).casefold()
        if key in spelled:
            raise UserError(
                f'the classes {spelled[key]!a} and {name!a} differ only in letter case or in how Unicode writes their '
                f'letters, and some systems take them for one: rename one, or put their images together'
            )
        spelled[key] = name


def class_folders(labels: Iterable[str]) -> dict[str, str]:
    """The names of class folders by their labels: a slash, which would make two folders, becomes an underscore.

    Raises:
        UserError: If a label is no name for a folder, or two are hard to tell apart.
    """
    folders = {label: re.sub(r'[/\\\0]', '_', label) for label in sorted(set(labels))}
    for label, folder in folders.items():
        if not folder or folder[0] == '.' or len(os.fsencode(folder)) > 255:
            raise UserError(f'the label {label!r:.80} cannot be the name of a folder: rename it')
    check_different(folders.values())
    return folders


def _find_folder(folder: str) -> str:
    parent, split = os.path.split(os.path.normpath(folder))
    found = folder if os.path.exists(folder) else _search_split(parent, split)
    if found == parent or not os.path.isdir(found):
        raise UserError(f'{folder!r} is not a folder that exists: expected a folder with a folder for each class')
    return found


def _class_names(folder: str) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith('.'))
    if not names:
        raise UserError(f'{printable(folder)} has no class folders: expected its images as SRC/CLASS/FILE')
    return names


def _labels(folders: Sequence[str]) -> list[str]:
    """Names for the folders: the ends of their paths, as long as it takes to tell them apart."""
    paths = [Path(os.path.realpath(folder)).parts[1:] for folder in folders]
    for depth in range(1, 1 + max(map(len, paths))):
        labels = ['_'.join(parts[-depth:]) for parts in paths]
        if len(set(labels)) == len(labels):
            return labels
    raise UserError(f'one folder is given twice: {", ".join(map(printable, folders))}')


def _find_images(folder: str, skipped: Counter[str]) -> dict[str, str]:
    """The images of a class folder by name, as absolute paths that are no links; other files are counted by ending."""
    images, known = {}, image_extensions()
    for entry in list(os.scandir(os.path.realpath(folder))):
        ending = os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith('.'):
            continue
        if entry.is_dir():
            advice = 'if the classes lie in splits, name one of these as SRC'
            raise UserError(f'{printable(entry.path)} is a folder in a class folder: expected SRC/CLASS/FILE; {advice}')
        if ending not in known:
            skipped[ending or 'no ending'] += 1
        elif not entry.is_file():  # left out, it would change the choice without a word
            raise UserError(f'{printable(entry.path)} is a broken link, or not a file: repair or remove it')
        else:
            images[entry.name] = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
    return dict(sorted(images.items()))


def _merged(found: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The images of several folders by names that differ."""
    times = Counter(name for images in found.values() for name in images)
    merged: dict[str, str] = {}
    for label, images in found.items():
        for name, path in images.items():
            own = name if times[name] == 1 else f'{label}_{name}'
            if own in merged or (own != name and own in times):
                raise UserError(f'{printable(path)} would be called {printable(own)}, as another image is: rename one')
            merged[own] = path
    return merged


def _repeated(images: Mapping[str, str]) -> list[str]:
    """The names of the images whose content an earlier one has."""
    sizes, seen, repeated = Counter(map(os.path.getsize, images.values())), set(), []
    for name, path in images.items():
        if sizes[os.path.getsize(path)] > 1:
            content = hashlib.sha256(Path(path).read_bytes()).digest()
            if content in seen:
                repeated.append(name)
            seen.add(content)
    return repeated
