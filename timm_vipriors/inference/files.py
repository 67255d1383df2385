"""Files that are there whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Give the name of a file to write, which becomes `path` at the end, or is removed if anything fails."""
    path = os.fspath(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a device such as /dev/null would be gone
        raise OSError(errno.EINVAL, 'it is there and is no file', path)
    folder, name = os.path.split(path)
    # a folder of its own, since a temporary file itself would be readable by its owner alone
    try:
        with tempfile.TemporaryDirectory(prefix=f'.{name}-', dir=folder or '.') as tmp:
            partial = os.path.join(tmp, name)
            yield partial
            os.replace(partial, path)
    except FileNotFoundError as e:
        if folder and not os.path.isdir(folder):
            raise FileNotFoundError(e.errno, 'there is no such folder', folder) from None
        raise
