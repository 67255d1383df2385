"""The folder of a subset: made by its plan, checked against it, gone on with after a stop.

While it is made, the plan lies in it as `.manifest.partial`; with the last image that is renamed to `manifest.csv`. So
a run that was stopped can be told from a finished one, and from a folder of somebody else's.
"""

import errno
import filecmp
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO

from ..errors import UserError
from ..files import progress
from .subset_manifest import MANIFEST, naming, read_manifest, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PARTIAL = '.manifest.partial'
TEMPORARY = '.copy.partial'  # an image until all of it is there: hidden, and with an ending that timm does not read


def find_manifest(root: str) -> str | None:
    """The name of the manifest in a folder, None if the folder is missing or empty, a UserError if it is another's."""
    if not os.path.lexists(root):
        return None
    if not os.path.isdir(root):
        raise UserError(f'{shown(root)} exists and is not a folder: name another one')
    names = set(os.listdir(root))
    if names and not names & {MANIFEST, PARTIAL}:
        raise UserError(f'{shown(root)} exists and is not empty: name another folder, or remove it first')
    return next((name for name in (MANIFEST, PARTIAL) if name in names), None)


def make_tree(source: str, root: str, plan: str, copy: bool, total: int) -> None:
    """Make the folder of a subset, or what is missing of one that was stopped, or check that all is there.

    Args:
        source: The folder with the images, by class.
        root: The folder to make.
        plan: A manifest in a file outside of it.
        copy: Copy the images instead of linking to them.
        total: The rows of the plan.

    Raises:
        UserError: Before anything is written, if the folder holds anything else than this plan and a part of it.
    """
    found = _find_started(root, plan)
    if found is not None:
        _check_tree(source, root, plan, copy, stopped=found == PARTIAL)
    if found == MANIFEST:
        return
    os.makedirs(root, exist_ok=True)
    partial = os.path.join(root, PARTIAL)
    with _alone(partial, 'ab' if found is None else 'r+b') as manifest:
        if found is None:
            with naming(partial), open(plan, 'rb') as file:
                manifest.truncate(0)
                shutil.copyfileobj(file, manifest)
                manifest.flush()  # before the first image
        _make_images(source, root, progress(read_manifest(plan), total, 'copying' if copy else 'linking'), copy)
    os.replace(partial, os.path.join(root, MANIFEST))


def _find_started(root: str, plan: str) -> str | None:
    """The name of the folder's manifest, None if it is yet to be written, a UserError if it is not like the plan."""
    found = find_manifest(root)
    if found is None:
        return None
    path = os.path.join(root, found)
    if stat.S_ISREG(os.lstat(path).st_mode):
        if filecmp.cmp(path, plan, shallow=False):
            return found
        if os.listdir(root) == [PARTIAL] and _is_start(path, plan):  # stopped while it was written, before all images
            return None
    raise UserError(
        f'{shown(path)} is that of another subset (other numbers, seed, list or images): name another folder, or '
        f'remove {shown(root)} first'
    )


def _is_start(path: str, whole: str) -> bool:
    with open(path, 'rb') as a, open(whole, 'rb') as b:
        return all(block == b.read(len(block)) for block in iter(lambda: a.read(1 << 20), b''))


def _check_tree(source: str, root: str, plan: str, copy: bool, stopped: bool) -> None:
    """Raise if anything in the folder is not by the plan, or something is missing though it was not stopped."""
    classes: dict[str, set[str]] = {}
    for split, name, _ in read_manifest(plan):
        classes.setdefault(split, set()).add(name)
    _check_folder(root, folders=classes, files={PARTIAL if stopped else MANIFEST})
    for split, names in classes.items():
        _check_folder(os.path.join(root, split), folders=names)
    for folder, rows in _by_folder(root, read_manifest(plan)):
        images = dict(_images(source, rows, copy))
        _check_folder(folder, files=images.keys() | ({TEMPORARY} if stopped else set()))
        for name, image in images.items():
            entry = os.path.join(folder, name)
            if not _is_made(image, entry, copy) and not stopped:
                raise UserError(
                    f'{shown(entry)} is missing, though {MANIFEST} was written when all was there: put it back, or '
                    f'remove {shown(root)} and make it again'
                )


def _check_folder(folder: str, folders: Collection[str] = (), files: Collection[str] = ()) -> None:
    """Raise if a folder holds anything else than these; not all of them must be there, nor the folder itself."""
    if not os.path.lexists(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            # a link to a folder is none: what is written there would go elsewhere
            if entry.name not in (folders if entry.is_dir(follow_symlinks=False) else files):
                raise UserError(
                    f'{shown(entry.path)} does not belong to the subset: take it away, or name another folder'
                )


def _by_folder(root: str, rows: Iterable[list[str]]) -> Iterator[tuple[str, Iterator[list[str]]]]:
    for (split, name), group in groupby(rows, key=itemgetter(0, 1)):
        yield os.path.join(root, split, name), group


def _images(source: str, rows: Iterable[list[str]], copy: bool) -> Iterator[tuple[str, str]]:
    """The names in one folder, with the files to copy or the targets of the links: absolute, no links themselves."""
    folders: dict[str, str] = {}  # of the one class
    for _, name, file in rows:
        if name not in folders:
            folder = os.path.join(source, name)
            folders[name] = folder if copy else os.path.realpath(folder)
        image = os.path.join(folders[name], file)
        yield file, os.path.realpath(image) if not copy and os.path.islink(image) else image


def _is_made(image: str, entry: str, copy: bool) -> bool:
    """Whether a link or copy is there; a UserError if something else is."""
    try:
        there = os.lstat(entry)
    except FileNotFoundError:
        return False
    if copy:
        right = stat.S_ISREG(there.st_mode) and there.st_size == os.stat(image).st_size
    else:
        right = stat.S_ISLNK(there.st_mode) and os.readlink(entry) == image
    if not right:
        raise UserError(
            f'{shown(entry)} exists and is not a {"copy of" if copy else "link to"} {shown(image)} (--link and --copy '
            f'do not mix): name another folder, or remove this one first'
        )
    return True


def _make_images(source: str, root: str, rows: Iterable[list[str]], copy: bool) -> None:
    for folder, group in _by_folder(root, rows):
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, TEMPORARY)
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        for name, image in _images(source, group, copy):
            entry = os.path.join(folder, name)
            if _is_made(image, entry, copy):
                continue
            if copy:
                _copy(image, temporary, entry)
            else:
                _link(image, entry)


def _link(image: str, entry: str) -> None:
    try:
        os.symlink(image, entry)
    except OSError as e:
        if e.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise UserError(f'{shown(entry)}: this file system has no symbolic links ({e.strerror}), use --copy') from e
        raise


def _copy(image: str, temporary: str, entry: str) -> None:
    """Copy a file, which gets its name when all of it is there."""
    try:
        shutil.copy2(image, temporary)
        os.replace(temporary, entry)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def _alone(path: str, mode: str) -> Iterator[BinaryIO]:
    """Open a file and lock it while it is open: of two runs at once, one would name the other's unfinished copies."""
    with open(path, mode) as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f'another process is making {shown(os.path.dirname(path))}: wait for it') from None
            except OSError:  # a file system without locks
                pass
        yield file
