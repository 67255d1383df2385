"""timm's image folder, except that an image that cannot be decoded ends the run with its name.

timm skips such an image with a warning that gives its index, and trains on the next one instead. In a small data set
every image counts.
"""

import os
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError
from timm.data.dataset import ImageDataset


class CorruptImageError(Exception):
    """An image file that cannot be decoded; the text names it."""

    @property
    def sentence(self) -> str:
        """The text alone: from a worker process it comes after a traceback and the class's name."""
        return str(self).strip().splitlines()[-1].rpartition('CorruptImageError: ')[2]


class StrictImageDataset(ImageDataset):
    """timm's `ImageDataset` that raises `CorruptImageError`, naming the file, where timm takes the next image."""

    @classmethod
    def of(cls, dataset: ImageDataset) -> 'StrictImageDataset':
        """The strict version of a data set that timm's `create_dataset` made, which it replaces."""
        strict = cls.__new__(cls)
        strict.__dict__.update(dataset.__dict__)
        return strict

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        name = self.reader.filename(index, absolute=True)
        check_is_file(name)
        try:
            file, target, *features = self.reader[index]
        except OSError as e:  # a broken link, or no permission
            raise CorruptImageError(f'{name} cannot be opened: {e.strerror}') from e
        with file:
            img = file.read() if self.load_bytes else decode(file, name, self.input_img_mode)
        if self.transform is not None:
            img = self.transform(img)
        if target is None:
            target = -1
        elif self.target_transform is not None:
            target = self.target_transform(target)
        return (img, target) if self.additional_features is None else (img, target, *features)


def check_is_file(path: str) -> None:
    """Raise `CorruptImageError` for what exists and is not a file: reading a pipe would wait forever."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise CorruptImageError(f'{path} is not a file')


def decode(file: BinaryIO, name: str, mode: str | None = None) -> Image.Image:
    """Read an image with all its pixels.

    Args:
        file: The open file.
        name: What an error calls it.
        mode: The mode to convert it to, if any.

    Raises:
        CorruptImageError: If it cannot be decoded.
    """
    try:
        img = Image.open(file)
        img.load()  # raises whatever is wrong with the pixels
        return img.convert(mode) if mode else img
    except UnidentifiedImageError as e:
        raise CorruptImageError(f'{name} is not an image that Pillow can read') from e
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise CorruptImageError(f'{name} cannot be decoded: {e}') from e
