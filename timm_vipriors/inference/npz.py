"""The arrays of an .npz file: read without pickles, with checksums compared, large ones mapped row by row."""

import math
import os
import struct
import zipfile
from dataclasses import dataclass

import numpy as np

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class MappedArray:
    """An array in a file, indexed by rows. What is read is a copy: pages stay mapped, and in memory, no longer."""

    path: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int  # of the first element in the file

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)[rows]
        try:
            mapped = np.memmap(self.path, self.dtype, 'r', self.offset, self.shape)
        except ValueError as e:
            raise ValueError(f'{self.path} became shorter after it was opened') from e
        return np.array(mapped[rows])


def read_npz(path: str | os.PathLike, mapped: str) -> dict[str, np.ndarray | MappedArray]:
    """Read the arrays of a file by their names; that called `mapped` stays in the file where it is uncompressed.

    Raises:
        ValueError: If it is no .npz file, is damaged, or has an array of Python objects.
        OSError: If it cannot be opened.
    """
    path = os.fspath(path)
    with open(path, 'rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix('.npy'): info for info in archive.infolist()}
                return {name: _read_array(path, archive, info, name == mapped) for name, info in members.items()}
        except Exception as e:  # damaged bytes can raise anything
            raise ValueError(f'{path} is no complete .npz file without pickles: {e}') from e


def _read_array(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, mapped: bool) -> np.ndarray | MappedArray:
    with archive.open(info) as member:
        if not mapped or info.compress_type != zipfile.ZIP_STORED:
            array = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):  # reading to the end compares the checksum
                raise ValueError(f'{info.filename} is longer than its header says')
            return array
        shape, fortran_order, dtype = _HEADERS[np.lib.format.read_magic(member)](member)
        header_size = member.tell()
        while member.read(1 << 20):
            pass
    if dtype.hasobject or info.file_size - header_size != dtype.itemsize * math.prod(shape):
        raise ValueError(f'{info.filename} holds Python objects, or is not as long as its header says')
    with open(path, 'rb') as file:
        file.seek(info.header_offset + 26)  # the local header has 30 bytes, then the name and the extra field
        offset = info.header_offset + 30 + sum(struct.unpack('<HH', file.read(4))) + header_size
    array = MappedArray(path, dtype, shape[::-1] if fortran_order else shape, offset)
    return array[:].T if fortran_order else array
