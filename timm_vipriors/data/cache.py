"""An image folder that decodes each image once and keeps the pixels in a file that all processes share."""

import hashlib
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from timm.data.dataset import ImageDataset

from ..files import first_line, printable, progress
from .datasets import StrictImageDataset
from .pixel_file import CHANNELS, MAGIC, PixelFile

_logger = logging.getLogger(__name__)
CACHES = ('ram', 'disk', 'off')


@dataclass(frozen=True)
class Shrink:
    """How far an image may be shrunk before a random resized crop of it would have to be enlarged more than before.

    Crops of the shrunk image differ a little from those of the image, which are resized once, not twice.

    Args:
        size: Side of the crops after resizing, in pixels; the longer one.
        scale: The least area of a crop by that of the image.
        ratio: The least of its sides' ratios, shorter by longer.

    Examples:
        >>> Shrink(224).sides(3000, 2000), Shrink(224).sides(500, 375)
        ((1120, 747), (500, 375))
    """

    size: int
    scale: float = 0.08
    ratio: float = 3 / 4

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the shrunk image."""
        shortest = min(width, height, math.sqrt(width * height * self.scale * self.ratio))  # side of any crop
        if shortest <= self.size:
            return width, height
        return math.ceil(width * self.size / shortest), math.ceil(height * self.size / shortest)


class CachedImageDataset(StrictImageDataset):
    """An image folder whose images are decoded once and kept as pixels, for all workers and ranks of the machine.

    The images equal those of `StrictImageDataset`. One whose file changes is read anew; EXIF and other metadata are not
    kept. Where the memory does not suffice the cache goes to the disk, and where that does not either, images are
    decoded each time; the log says so.

    Args:
        root: The folder. Images that are converted to RGB (timm's default) or L are kept; others are decoded each time.
        *args: Further arguments of timm's `ImageDataset`.
        cache: 'ram' keeps the pixels in memory until the last process that uses them ends, 'disk' in `folder` for later
            runs too, 'off' not at all.
        folder: Of caches on disk; `timm-vipriors/images` in the user's cache folder if not given.
        shrink: Shrink images to what a random resized crop can need, as `Shrink(224)` does for crops of 224 pixels. The
            images are then not exactly those of `StrictImageDataset`, whether they come from the cache or not.
        **kwargs: Further arguments of timm's `ImageDataset`.

    Raises:
        ValueError: If `cache` is none of the three.

    Examples:
        >>> from timm_vipriors.data import make_demo_data
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = make_demo_data(folder)
        ...     data = CachedImageDataset(f'{folder}/train', cache='ram')
        ...     data[0][0].tobytes() == data[0][0].tobytes()  # the second time from the cache
        True
    """

    def __init__(
        self,
        root: str,
        *args: Any,
        cache: str = 'ram',
        folder: str | os.PathLike | None = None,
        shrink: Shrink | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, *args, **kwargs)
        self._open(cache, folder, shrink)

    @classmethod
    def of(
        cls,
        dataset: ImageDataset,
        cache: str = 'ram',
        folder: str | os.PathLike | None = None,
        shrink: Shrink | None = None,
    ) -> 'CachedImageDataset':
        """The cached version of an image folder that timm's `create_dataset` made, which it replaces."""
        cached = super().of(dataset)
        cached._open(cache, folder, shrink)
        return cached

    def _open(self, cache: str, folder: str | os.PathLike | None, shrink: Shrink | None) -> None:
        if cache not in CACHES:
            raise ValueError(f'expected a cache of {", ".join(CACHES)}, got {cache!r}')
        self.pixels, self.sides = None, shrink.sides if shrink else None
        if cache != 'off' and self.input_img_mode in CHANNELS and not self.load_bytes:
            self.pixels = open_cache(self.filenames(absolute=True), self.input_img_mode, cache == 'ram', folder, shrink)

    def sample(self, index: int) -> tuple[Any, ...]:
        if self.pixels is not None:
            name, target = self.reader.samples[index]
            img = self.pixels.get(self.pixels.number(name))
            if img is not None:
                return img, target
        return super().sample(index)

    def read(self, file: BinaryIO, name: str) -> Any:
        number = None if self.pixels is None else self.pixels.number(name, file.fileno())
        img = super().read(file, name)
        if number is not None and self.pixels.number(name, file.fileno()) == number:  # did not change meanwhile
            self.pixels.put(number, img)
        return img


def open_cache(
    names: list[str],
    mode: str,
    ram: bool,
    folder: str | os.PathLike | None = None,
    shrink: Shrink | None = None,
) -> PixelFile | None:
    """Open or make the cache of some image files: in memory or on disk, or None where neither can be."""
    files = {}
    for name in sorted(set(names)):
        if os.path.isfile(name):
            stat = os.stat(name)
            files[name] = stat.st_size, stat.st_mtime_ns
    if not files:
        return None
    key = repr((MAGIC, mode, shrink, [(os.path.abspath(name), *file) for name, file in files.items()]))
    digest = hashlib.blake2b(key.encode(errors='surrogateescape'), digest_size=16).hexdigest()
    home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    disk = Path(folder or Path(home, 'timm-vipriors', 'images'))
    sizes: list[np.ndarray] = []

    def read_sizes() -> np.ndarray:
        if not sizes:
            known = (_size(name) for name in progress(files, len(files), 'Sizes of images'))
            sizes.append(np.array([shrink.sides(*sides) if shrink else sides for sides in known], np.uint32))
        return sizes[0]

    for place, in_ram in ([(Path('/dev/shm'), True)] if ram else []) + [(disk, False)]:
        where = 'memory' if in_ram else printable(place)
        try:
            if not in_ram:
                place.mkdir(parents=True, exist_ok=True)
            path = place / f'timm-vipriors-{os.getuid()}-{digest}.pixels'
            return PixelFile(path, files, mode, in_ram, read_sizes)
        except OSError as e:
            then = 'it goes to the disk' if in_ram else 'images are decoded each time'
            _logger.warning(f'no image cache in {where}, {then}: {e.strerror or first_line(e)}')
    return None


def _size(name: str) -> tuple[int, int]:
    try:
        with Image.open(name) as img:
            return img.size
    except Exception:  # decoding it will say what is wrong
        return 0, 0
