"""timm's image folder, except that an image that cannot be decoded ends the run with its name.

timm skips such an image with a warning that gives its index, and trains on the next one instead. In a small data set
every image counts.
"""

import copy
import os
from collections import Counter
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION
from timm.data import add_img_extensions, get_img_extensions
from timm.data.dataset import ImageDataset
from timm.data.readers.reader_image_folder import ReaderImageFolder

from ..files import first_line, first_names, plural

Sides = Callable[[int, int], tuple[int, int]]
_PHOTOGRAPHS = 'AVIF BMP DIB GIF HEIF JPEG JPEG2000 JXL MPO PNG PPM QOI TGA TIFF WEBP'.split()
_PHOTOS = {'.arw', '.cr2', '.cr3', '.dng', '.heic', '.heif', '.nef'}  # of phones and cameras, not read by Pillow alone


class CorruptImageError(Exception):
    """An image file that cannot be decoded; the text names it.

    Examples:
        >>> import io
        >>> decode(io.BytesIO(b'text'), 'cat.jpg')
        Traceback (most recent call last):
        timm_vipriors.data.datasets.CorruptImageError: cat.jpg is not an image that Pillow can read
    """

    @property
    def sentence(self) -> str:
        """The text alone: from a worker process it comes after a traceback and the class's name."""
        return str(self).strip().splitlines()[-1].rpartition('CorruptImageError: ')[2]


class StrictImageDataset(ImageDataset):
    """timm's `ImageDataset` that raises `CorruptImageError`, naming the file, where timm takes the next image.

    Examples:
        >>> import tempfile
        >>> from timm_vipriors.data import make_demo_data
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = make_demo_data(folder)
        ...     image, label = StrictImageDataset(f'{folder}/train')[0]
        >>> image.size, label
        ((32, 32), 0)
    """

    sides: Sides | None = None  # to shrink the images to

    @classmethod
    def of(cls, dataset: ImageDataset) -> 'StrictImageDataset':
        """The strict version of a data set that timm's `create_dataset` made, which it replaces."""
        strict = cls.__new__(cls)
        strict.__dict__.update(dataset.__dict__)
        return strict

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        img, target, *features = self.sample(index)
        if self.transform is not None:
            img = self.transform(img)
        if target is None:
            target = -1
        elif self.target_transform is not None:
            target = self.target_transform(target)
        return (img, target) if self.additional_features is None else (img, target, *features)

    def sample(self, index: int) -> tuple[Any, ...]:
        """An image, its target and further features before the transforms."""
        name = self.reader.filename(index, absolute=True)
        check_is_file(name)
        try:
            file, *more = self.reader[index]
        except OSError as e:  # a broken link, or no permission
            raise CorruptImageError(f'{name} cannot be opened: {e.strerror}') from e
        with file:
            return file.read() if self.load_bytes else self.read(file, name), *more

    def bare(self) -> 'StrictImageDataset':
        """The same images without the transform."""
        bare = copy.copy(self)
        bare.transform = None
        return bare

    def read(self, file: BinaryIO, name: str) -> Image.Image:
        """The image of an open file."""
        return decode(file, name, self.input_img_mode, self.sides)


def check_is_file(path: str) -> None:
    """Raise `CorruptImageError` for what exists and is not a file: reading a pipe would wait forever."""
    if not os.path.isfile(path) and os.path.exists(path):
        raise CorruptImageError(f'{path} is not a file')


def decode(file: BinaryIO, name: str, mode: str | None = None, sides: Sides | None = None) -> Image.Image:
    """Read an image with all its pixels.

    Args:
        file: The open file.
        name: What an error calls it.
        mode: The mode to convert it to, if any, such as RGB. Where that has 8 bits, images of 16 bits are scaled.
        sides: Gives the width and height to shrink it to by its own. A JPEG file is not decoded larger than need be.

    Raises:
        CorruptImageError: If it cannot be decoded, or not be converted.
    """
    try:
        img = Image.open(file)
        size = img.size if sides is None else sides(*img.size)
        if size != img.size:
            img.draft(None, size)
        img.load()  # raises whatever is wrong with the pixels
        if mode:
            if not mode.endswith(('A', 'a')):
                img.info.pop('transparency', None)  # colours that mean transparent have no meaning in such a mode
            img = (img if mode[0] in 'IF' else _in_8_bits(img)).convert(mode)
        return img if img.size == size else img.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    except UnidentifiedImageError as e:
        file.seek(0)
        head = file.read(12)
        what = '; it is empty, 0 bytes: replace or remove it' if not head else ''
        if head[4:8] == b'ftyp':
            what = '; by its content it is a HEIC photo or a video: convert it to JPEG, or remove it'
        raise CorruptImageError(f'{name} is not an image that Pillow can read{what}') from e
    except Exception as e:  # decoders raise anything, a MemoryError too
        raise CorruptImageError(f'{name} cannot be decoded: {first_line(e)}') from e


def _in_8_bits(img: Image.Image) -> Image.Image:
    """A grey image of 16 bits scaled to 8, where Pillow's `convert` clips: all but the darkest pixels become white."""
    if img.mode[0] not in 'IF':
        return img
    if img.mode == 'F' or (img.mode == 'I' and img.format not in ('PNG', 'PPM')):  # Pillow reads their 16 bits as I
        raise ValueError('its pixels have 32 bits and no known range, convert it to 8 or 16 bits')
    tags = getattr(img, 'tag_v2', {})  # of a TIFF file
    white = 2 ** tags.get(BITSPERSAMPLE, (16,))[0] - 1
    values = np.asarray(img).astype(np.uint32)
    if tags.get(PHOTOMETRIC_INTERPRETATION) == 0:  # 0 is white, which Pillow heeds for 8 bits only
        values = white - values
    return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))


def image_extensions() -> frozenset[str]:
    """The endings of image files that we read: timm's three, and those that Pillow has for photographs.

    Examples:
        >>> sorted(image_extensions())[:4]
        ['.apng', '.avif', '.avifs', '.bmp']
    """
    pillows = Image.registered_extensions().items()
    return frozenset(get_img_extensions()) | {ending for ending, form in pillows if form in _PHOTOGRAPHS}


def register_image_extensions() -> None:
    """Have timm's readers of image folders find all `image_extensions()` in this process."""
    add_img_extensions(sorted(image_extensions() - get_img_extensions(as_set=True)))


def skipped_files(folder: str | os.PathLike) -> Counter[str]:
    """The number of files in a folder that are not read as images, by their endings; hidden ones are not counted."""
    skipped: Counter[str] = Counter()
    known = image_extensions()
    for _, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        endings = (os.path.splitext(name)[1].lower() for name in files if not name.startswith('.'))
        skipped.update(ending or 'no ending' for ending in endings if ending not in known)
    return skipped


def describe_skipped(skipped: Counter[str]) -> str:
    """A line for the files that are not read as images.

    Examples:
        >>> describe_skipped(Counter({'.txt': 2, '.heic': 1}))
        'skipped 3 files whose endings are not those of images: .txt (2), .heic (1); convert photos to JPEG'
    """
    endings = first_names(f'{ending} ({count:,})' for ending, count in skipped.most_common())
    hint = '; convert photos to JPEG' if _PHOTOS & skipped.keys() else ''
    return f'skipped {plural(skipped.total(), "file")} whose endings are not those of images: {endings}{hint}'


def drop_hidden(reader: ReaderImageFolder, class_map: Any = None) -> None:
    """Leave hidden files and folders out of timm's reader, which takes a hidden folder with images for a class.

    Args:
        reader: A reader of an image folder, which is changed.
        class_map: The class map that it was made with, if any: the classes then stay as they are.
    """
    paths = [(sample, os.path.relpath(sample[0], reader.root).split(os.sep)) for sample in reader.samples]
    reader.samples = [sample for sample, parts in paths if not any(part.startswith('.') for part in parts)]
    if len(reader.samples) == len(paths) or class_map:
        return
    left = {target for _, target in reader.samples}
    names = [name for name, target in reader.class_to_idx.items() if target in left]
    new = {reader.class_to_idx[name]: number for number, name in enumerate(names)}
    reader.samples = [(path, new[target]) for path, target in reader.samples]
    reader.class_to_idx = {name: number for number, name in enumerate(names)}
