"""A PIL image that copies its pixels out of a cache when they are needed, and for a crop only those of the crop."""

from typing import Any

import numpy as np
from PIL import Image

from .lsb_swap import lsb_swap


class CachedImage(Image.Image):
    """An image whose pixels lie elsewhere, loaded on demand like those of a file that Pillow opens.

    A random resized crop is the first that most training does with an image: so a part of the pixels is enough.

    Args:
        pixels: `(H, W, 3)` or `(H, W)`, uint8, in one piece; they must not change.
        donor: The `donor`, `k` and `corner` of an LSB swap that the image has gone through.
    """

    pixels: np.ndarray | None = None  # None once they are loaded

    def __init__(self, pixels: np.ndarray, donor: tuple[np.ndarray, int, tuple[int, int]] | None = None) -> None:
        super().__init__()
        self._mode, self._size = 'L' if pixels.ndim == 2 else 'RGB', pixels.shape[1::-1]
        self.pixels, self.donor = pixels, donor

    def load(self) -> Any:
        if self.pixels is not None:
            self.im = self._part(0, 0, *self.size).im
            self.pixels = self.donor = None
        return super().load()

    def crop(self, box: tuple[float, float, float, float] | None = None) -> Image.Image:
        if self.pixels is not None and box is not None:
            left, top, right, bottom = (round(side) for side in box)  # as Pillow has it
            if 0 <= left < right <= self.width and 0 <= top < bottom <= self.height:
                return self._part(left, top, right, bottom)
        return super().crop(box)

    def swapped(self, donor: Image.Image, k: int, corner: tuple[int, int]) -> Image.Image:
        """The image after `lsb_swap`, which is done when its pixels are needed."""
        if self.pixels is None or self.donor is not None:
            return lsb_swap(self, donor, k, corner)
        pixels = donor.pixels if isinstance(donor, CachedImage) and donor.donor is None else None
        return CachedImage(self.pixels, (np.asarray(donor) if pixels is None else pixels, k, corner))

    def _part(self, left: int, top: int, right: int, bottom: int) -> Image.Image:
        pixel = 3 if self.mode == 'RGB' else 1  # bytes
        if self.donor is None:
            row = self.width * pixel
            data = self.pixels.reshape(-1)[top * row + left * pixel : (bottom - 1) * row + right * pixel]
        else:
            donor, k, (y, x) = self.donor
            row = (right - left) * pixel
            data = lsb_swap(self.pixels[top:bottom, left:right], donor, k, (y + top, x + left))
        img = Image.new(self.mode, (right - left, bottom - top), None)
        img.frombytes(data, 'raw', (self.mode, row, 1))
        return img
