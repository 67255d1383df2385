"""One file with the pixels of many images, which all processes of a machine share.

It holds, in this order: a magic number and its own size, which are written last when it is made; the widths, the
heights and the checksums of the images; their pixels. A checksum is written after its pixels, and each process checks
it once: what a killed writer, a full disk or a power cut left behind counts as missing. A cache in memory, which a
power cut ends, has 1 for each. Two processes that write the same image write the same bytes. Whoever uses the file
holds a shared lock on it; one in memory goes with its last user.
"""

import errno
import mmap
import os
import shutil
import time
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .cached_image import CachedImage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

MAGIC = 0x31304D4956494456  # with the version of the layout
CHANNELS = {'RGB': 3, 'L': 1}
_SHARE_OF_FREE = 0.75  # what a cache may take; the rest is for the training
_MAX_AGE = 30 * 24 * 3600  # seconds after which an unused cache on disk is removed


class PixelFile:
    """The file of a cache, opened or made.

    Args:
        path: The file.
        files: Size in bytes and time of each image file by its name.
        mode: Mode of the images, RGB or L.
        ram: Whether the file is in memory: it is then removed with its last user.
        read_sizes: Gives width and height of each image, (images, 2); called if the file is made.

    Raises:
        OSError: If it cannot be made or does not fit.
    """

    def __init__(
        self,
        path: Path,
        files: dict[str, tuple[int, int]],
        mode: str,
        ram: bool,
        read_sizes: Callable[[], np.ndarray],
    ) -> None:
        if fcntl is None:
            raise OSError(errno.ENOSYS, 'this system has no file locks')
        self.path, self.mode, self.ram = path, mode, ram
        self._files = {name: (number, *file) for number, (name, file) in enumerate(files.items())}
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                if os.fstat(fd).st_uid != os.getuid():
                    raise PermissionError(errno.EACCES, f'{path} belongs to another user')
                fcntl.flock(fd, fcntl.LOCK_SH)
                while not _is_complete(fd) and _is_at(fd, path):
                    fcntl.flock(fd, fcntl.LOCK_UN)
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:  # another process makes it, and then keeps a shared lock while it runs
                        time.sleep(0.01)
                    else:
                        if _is_at(fd, path) and not _is_complete(fd):
                            self._make(fd, ram, read_sizes)
                    fcntl.flock(fd, fcntl.LOCK_SH)
                if _is_at(fd, path):  # nobody removed it before we had the lock
                    break
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        os.utime(fd)  # in use
        self._attach(fd)
        weakref.finalize(self, _release, fd, path, ram, os.getpid())

    def _make(self, fd: int, ram: bool, read_sizes: Callable[[], np.ndarray]) -> None:
        try:
            _remove_unused(self.path, 0 if ram else _MAX_AGE)
            sizes = read_sizes()
            lengths = sizes.astype(np.int64).prod(1) * CHANNELS[self.mode]
            total = 16 + 12 * len(sizes) + int(lengths.sum())
            free = int(_free(self.path.parent, ram) * _SHARE_OF_FREE)
            if total > free:
                raise OSError(errno.ENOSPC, f'it needs {total / 1e9:,.2f} GB and may take {free / 1e9:,.2f} GB')
            os.ftruncate(fd, 0)
            if hasattr(os, 'posix_fallocate'):  # reserves the space
                os.posix_fallocate(fd, 0, total)
            os.ftruncate(fd, total)
            os.pwrite(fd, np.ascontiguousarray(sizes.T, '<u4').tobytes(), 16)
            os.pwrite(fd, np.array([MAGIC, total], '<u8').tobytes(), 0)
        except BaseException:
            os.unlink(self.path)
            raise

    def _attach(self, fd: int) -> None:
        stat = os.fstat(fd)
        self._fd, self._inode = fd, (stat.st_dev, stat.st_ino)
        self._map = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        count = len(self._files)
        *self._sizes, self._checksums = np.frombuffer(self._map, '<u4', 3 * count, 16).reshape(3, count)
        self._lengths = self._sizes[0].astype(np.int64) * self._sizes[1] * CHANNELS[self.mode]
        self._starts = 16 + 12 * count + np.cumsum(self._lengths) - self._lengths
        self._checked = bytearray([self.ram]) * count
        self._bytes = np.frombuffer(self._map, np.uint8)

    def number(self, name: str, file: int | None = None) -> int | None:
        """The number of an image whose file, open or by name, is as it was when the cache was opened; None if not."""
        number, *known = self._files.get(name, (None,))
        try:
            stat = os.stat(name if file is None else file)
        except OSError:
            return None
        return number if known == [stat.st_size, stat.st_mtime_ns] else None

    def get(self, number: int | None) -> Image.Image | None:
        """An image, or None where its pixels are not there."""
        if number is None or self._map is None or not self._checksums[number]:
            return None
        start, height, width = int(self._starts[number]), int(self._sizes[1][number]), int(self._sizes[0][number])
        pixels = self._bytes[start : start + int(self._lengths[number])]
        if not self._checked[number]:
            if _checksum(pixels, width) != self._checksums[number]:
                return None
            self._checked[number] = 1
        return CachedImage(pixels.reshape((height, width, 3) if self.mode == 'RGB' else (height, width)))

    def put(self, number: int, img: Image.Image) -> None:
        """Keep the pixels of an image if they are as its file's header promised."""
        if self._map is None or img.mode != self.mode or img.size != tuple(int(s[number]) for s in self._sizes):
            return
        pixels = img.tobytes()
        try:
            if os.pwrite(self._fd, pixels, int(self._starts[number])) == len(pixels):
                place = 16 + 4 * (2 * len(self._files) + number)
                checksum = 1 if self.ram else _checksum(pixels, img.width)
                os.pwrite(self._fd, checksum.to_bytes(4, 'little'), place)
        except OSError:  # no space, where it could not be reserved: the image is decoded again
            pass

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ('path', 'mode', 'ram', '_files', '_inode')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a spawned worker: the same file, if it is still there."""
        self.__dict__.update(state, _map=None)
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return
        stat = os.fstat(fd)
        if (stat.st_dev, stat.st_ino) == self._inode:
            self._attach(fd)
            weakref.finalize(self, os.close, fd)
        else:
            os.close(fd)


def _checksum(pixels: bytes | np.ndarray, width: int) -> int:
    return zlib.crc32(pixels, width) or 1  # 0 says that there are none


def _is_complete(fd: int) -> bool:
    return os.pread(fd, 16, 0) == np.array([MAGIC, os.fstat(fd).st_size], '<u8').tobytes()


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _free(folder: Path, ram: bool) -> int:
    """Bytes that are free in a folder, and where that is in memory, in the machine's and the container's memory."""
    free = [shutil.disk_usage(folder).free]
    if ram:
        lines = Path('/proc/meminfo').read_text().splitlines()
        free += [int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable')]
        limit, used, details = (Path('/sys/fs/cgroup', f'memory.{name}') for name in ('max', 'current', 'stat'))
        if limit.is_file() and limit.read_text().strip().isdigit():
            files = next(int(x.split()[1]) for x in details.read_text().splitlines() if x.startswith('inactive_file '))
            free.append(int(limit.read_text()) - int(used.read_text()) + files)  # files' copies give way
    return min(free)


def _remove_unused(path: Path, age: float) -> None:
    """Remove our other caches beside one that nobody uses and that are of an age in seconds."""
    for other in path.parent.glob(f'timm-vipriors-{os.getuid()}-*.pixels'):
        try:
            if other != path and time.time() - other.stat().st_mtime >= age:
                with open(other, 'rb') as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    other.unlink()
        except OSError:  # in use, or gone
            continue


def _release(fd: int, path: Path, ram: bool, pid: int) -> None:
    if os.getpid() != pid:
        return  # a forked worker ends
    try:
        if ram and _is_at(fd, path):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:  # another process uses it
        pass
    os.close(fd)
