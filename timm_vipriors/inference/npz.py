"""Arrays of an .npz file, read without pickles, and by rows where they lie in it uncompressed.

Rows are read, not mapped: mapped pages count as memory of the process.
"""

import io
import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..files import atomic_write

# what damaged bytes can raise: OSError is for a place that cannot be in a file
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError, SyntaxError),
    *(EOFError, RuntimeError, ValueError, TypeError, OSError, MemoryError),
)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class NpzArray:
    """An array of a file, of which nothing but the header has been read."""

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    start: int | None  # the first row's place in the file; None where rows do not lie one after the other

    def load(self) -> np.ndarray:
        """The whole array."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f'{self.name}.npy') as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except _UNREADABLE as e:
            raise ValueError(f'{self.path}: the array {self.name!r} cannot be read: {e}') from e

    def rows(self, rows: slice | np.ndarray | None = None) -> np.ndarray:
        """Some rows of an array with a `start`, all of them for None, read from their places in the file."""
        rows = np.arange(self.shape[0])[slice(None) if rows is None else rows]
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        flat, width = out.reshape(-1).view(np.uint8), self.dtype.itemsize * math.prod(self.shape[1:])
        if len(rows) == 0:
            return out
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1  # rows that follow each other are read at once
        view, places = memoryview(flat), (rows * width + self.start).tolist()
        with open(self.path, 'rb', buffering=0) as file:  # single rows are often smaller than a buffer
            for begin, end in pairwise([0, *breaks.tolist(), len(rows)]):
                file.seek(places[begin])
                self._fill(view[begin * width : end * width], file)
        return out

    def _fill(self, view: memoryview, file: io.RawIOBase) -> None:
        while view:
            count = file.readinto(view)  # may be fewer bytes than asked for
            if not count:
                raise ValueError(f'{self.path} became shorter while it was read')
            view = view[count:]


def open_npz(path: str | os.PathLike) -> dict[str, NpzArray]:
    """The arrays of a file by their names.

    Raises:
        ValueError: If it is no .npz file, or was cut off, or an array holds Python objects.
        OSError: If it cannot be read.
    """
    path = os.fspath(path)
    with open(path, 'rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = [info for info in archive.infolist() if info.filename.endswith('.npy')]
                arrays = [_describe(path, file, archive, info) for info in members]
        except _UNREADABLE as e:
            raise ValueError(f'{path} is no complete .npz file without pickles: {e}') from e
    return {array.name: array for array in arrays}


def _describe(path: str, file, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpzArray:
    name = info.filename.removesuffix('.npy')
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f'the array {name!r} is of the format {version}, expected plain numbers or text')
        read_header = getattr(np.lib.format, f'read_array_header_{version[0]}_0')
        shape, fortran_order, dtype = read_header(member)
        header_size = member.tell()
        stored = info.compress_type == zipfile.ZIP_STORED and not fortran_order
        while stored and member.read(_BLOCK):  # to the end, where the archive compares its checksum: rows() cannot
            pass
    if dtype.hasobject:
        raise ValueError(f'the array {name!r} holds Python objects, expected plain numbers or text (no dtype=object)')
    if info.file_size - header_size != dtype.itemsize * math.prod(shape):
        raise ValueError(f'the array {name!r} has not the size that its header says')
    start = None
    if stored:
        file.seek(info.header_offset + 26)  # the local header has 30 bytes, then the name and the extra field
        start = info.header_offset + 30 + sum(struct.unpack('<HH', file.read(4))) + header_size
    return NpzArray(path, name, shape, dtype, start)


def write_npz(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], blocks: Mapping[str, tuple[tuple[int, int], Iterable]]
) -> None:
    """Write a file as `np.savez` does, with float32 arrays that are given row by row block.

    Args:
        path: The file. It is there whole, or as it was before.
        arrays: Arrays by their names.
        blocks: Shape (N, C) and blocks of rows of float32 arrays, by their names.
    """
    with atomic_write(path) as partial, zipfile.ZipFile(partial, 'w') as archive:
        for name, (shape, parts) in blocks.items():
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
                header = {'descr': '<f4', 'fortran_order': False, 'shape': shape}
                np.lib.format.write_array_header_1_0(file, header)
                for part in parts:
                    file.write(np.ascontiguousarray(part, '<f4').reshape(-1).view(np.uint8))
        for name, array in arrays.items():
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
