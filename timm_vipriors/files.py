"""Files and the texts about them, in one place: atomic writing, checkpoints, loaders, progress, names in messages."""

import errno
import os
import sys
import tempfile
import zipfile
from argparse import Namespace
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

T = TypeVar('T')


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces `path` atomically at the end, or is removed after an error.

    A `path` that is there and is no regular file is an OSError: a device would be lost.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, 'not a regular file', str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, 'there is no such folder', str(path.parent))
    # in a folder of its own, since a temporary file itself would be readable by its owner alone
    with with_filename(path), tempfile.TemporaryDirectory(prefix=f'.{path.name}-', dir=path.parent) as folder:
        partial = Path(folder, path.name)
        yield partial
        os.replace(partial, path)


@contextmanager
def with_filename(path: str | os.PathLike) -> Iterator[None]:
    """Add the file's name to an OSError that has none, such as that of a write to a full disk."""
    try:
        yield
    except OSError as e:
        if e.filename is None and e.errno is not None:
            e.filename = os.fspath(path)
        raise


@contextmanager
def exclusive_lock(path: str) -> Iterator[BinaryIO]:
    """Open a file for appending; wait while another process that writes to the same folder has it open so."""
    with open(path, 'ab') as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'another process is writing {printable(os.path.dirname(path))}: waiting for it', file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield file


def read_checkpoint(path: str | os.PathLike, mmap: bool = False, checksums: bool = True) -> dict[str, Any]:
    """Read a checkpoint of torch.save, or the `state_dict` of a .safetensors file, without running code from it.

    Args:
        path: The file.
        mmap: Map the tensors into memory instead of reading them.
        checksums: Compare the checksums of all that is in the file, which torch does not.

    Raises:
        ValueError: If the file is not a checkpoint, or is damaged.
    """
    import torch

    path = os.fspath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, 'expected a checkpoint, got a folder', path)
    try:
        if path.endswith('.safetensors'):
            from safetensors.torch import load_file

            return {'state_dict': load_file(path)}
        with torch.serialization.safe_globals([Namespace]):
            content = torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
        damaged = None
        if checksums and zipfile.is_zipfile(path):  # the format before torch 1.6 has none
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
    except OSError:
        raise
    except Exception as e:  # torch, pickle and safetensors each have their own
        raise ValueError(f'{path} is not a checkpoint: neither torch (weights only) nor safetensors can read it') from e
    if damaged is not None:
        raise ValueError(f'{path} is damaged: the checksum of {damaged!r} in it is wrong')
    return content if isinstance(content, dict) else {}


def progress(items: Iterable[T], total: int, description: str, unit: str = 'image') -> Iterator[T]:
    """Yield the items, with a progress bar on standard error if that is a terminal."""
    return iter(progress_bar(total, description, unit, items))


def progress_bar(total: int, description: str, unit: str = 'image', items: Iterable | None = None) -> Any:
    """The tqdm bar of `progress`, whose `update(n)` counts several items at once."""
    from tqdm import tqdm  # comes with timm

    return tqdm(items, total=total, desc=description, unit=f' {unit}s', disable=None, leave=False)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def default_workers() -> int:
    """Processes that load images: the cores that this process may use, at most eight, shared with those beside it."""
    return max(1, min(8, available_cores() // int(os.environ.get('LOCAL_WORLD_SIZE', 1))))


def printable(text: object) -> str:
    """A text on one line, with escapes for what a terminal would obey or could not print."""
    text = str(text)
    return text if text.isprintable() else repr(text)[1:-1]


def first_names(names: Iterable[object], most: int = 5) -> str:
    """The first few names for a message, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - most:,} more' if len(names) > most else ''
    return ', '.join(map(printable, names[:most])) + more


def quoted(names: Iterable[object]) -> str:
    """The first few names in quotes."""
    return first_names(map(repr, names))


def name_differences(names: Iterable[str], expected: Iterable[str]) -> str:
    """Which names are missing and which are not known, as part of a sentence; empty if they are the same."""
    given, known = set(names), set(expected)
    parts = {'missing are': known - given, 'not known are': given - known}
    return ', '.join(f'{what} {quoted(sorted(which, key=repr))}' for what, which in parts.items() if which)


def repeated(items: Iterable[T]) -> list[T]:
    """Those that occur more than once."""
    return [item for item, count in Counter(items).items() if count > 1]


def plural(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `plural(2, 'class', 'classes')` is '2 classes'."""
    return f'{number:,} {one if number == 1 else many or one + "s"}'


def percent(share: float, digits: int = 2) -> str:
    """A share in percent: `percent(0.975)` is '97.50 %'."""
    return f'{100 * share:.{digits}f} %'


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def text_table(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> str:
    """Rows of cells in aligned columns: those with the numbers `left` flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    )
    return '\n'.join('  '.join(cells).rstrip() for cells in aligned)
