"""timm's image folder, but a broken image ends the run with its name.

timm skips an image that it cannot decode and trains on its neighbour instead, with a warning that gives an index. On a
small data set every image counts, so here it is an error.
"""

from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError
from timm.data.dataset import ImageDataset


class CorruptImageError(Exception):
    """An image file that cannot be decoded; the text names it."""


class StrictImageDataset(ImageDataset):
    """timm's `ImageDataset` that raises `CorruptImageError`, naming the file, where timm goes on to the next one."""

    @classmethod
    def of(cls, dataset: ImageDataset) -> 'StrictImageDataset':
        """The strict twin of a dataset that timm's `create_dataset` made; it takes the place of the other."""
        strict = cls.__new__(cls)
        strict.__dict__.update(dataset.__dict__)
        return strict

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        file, target, *features = self.reader[index]
        try:
            img = file.read() if self.load_bytes else self._decode(file)
        except UnidentifiedImageError as e:
            raise CorruptImageError(f'{self._name(index)} is not an image that Pillow can read') from e
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
            raise CorruptImageError(f'{self._name(index)} cannot be decoded: {e}') from e
        finally:
            file.close()
        if self.transform is not None:
            img = self.transform(img)
        if target is None:
            target = -1
        elif self.target_transform is not None:
            target = self.target_transform(target)
        return (img, target) if self.additional_features is None else (img, target, *features)

    def _decode(self, file: BinaryIO) -> Image.Image:
        img = Image.open(file)
        img.load()  # whatever is wrong with the pixels comes out here
        return img.convert(self.input_img_mode) if self.input_img_mode else img

    def _name(self, index: int) -> str:
        return self.reader.filename(index, absolute=True)
