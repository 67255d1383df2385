"""The arrays of an .npz file: read without pickles, with checksums compared, large ones mapped row by row."""

import math
import struct
import zipfile
from dataclasses import dataclass

import numpy as np

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class MappedArray:
    """An array in a file, indexed by rows, which are copied: the pages of the file are mapped only meanwhile."""

    path: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int  # of the first element in the file

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.array(np.memmap(self.path, self.dtype, 'r', self.offset, self.shape)[rows])


def read_npz(path: str, mapped: str) -> dict[str, np.ndarray | MappedArray]:
    """Read the arrays of a file by their names; that called `mapped` stays in the file where that is possible.

    Raises:
        ValueError: If it is no .npz file, is damaged, or has an array of Python objects.
        OSError: If it cannot be opened.
    """
    with open(path, 'rb') as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files if name != mapped}
                if mapped in arrays.files:
                    found[mapped] = _mapped(path, arrays.zip, f'{mapped}.npy') or arrays[mapped]
                return found
        except Exception as e:  # damaged bytes can raise anything
            raise ValueError(f'{path} is no complete .npz file without pickles: {e}') from e


def _mapped(path: str, archive: zipfile.ZipFile, name: str) -> MappedArray | None:
    """An array that is not compressed, without reading more than its checksum needs."""
    info = archive.getinfo(name)
    with archive.open(info) as member:
        shape, fortran_order, dtype = _HEADERS[np.lib.format.read_magic(member)](member)
        header, size = member.tell(), dtype.itemsize * math.prod(shape)
        if info.compress_type != zipfile.ZIP_STORED or not size or fortran_order or dtype.hasobject:
            return None
        while member.read(1 << 20):  # reading to the end compares the checksum
            pass
    if info.file_size != header + size:
        raise ValueError(f'{name} is not as long as its header says')
    with open(path, 'rb') as file:
        file.seek(info.header_offset + 26)  # the local header: 30 bytes, the name and the extra field
        start = info.header_offset + 30 + sum(struct.unpack('<HH', file.read(4)))
    return MappedArray(path, dtype, shape, start + header)
