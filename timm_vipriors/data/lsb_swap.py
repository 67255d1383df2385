"""LSB swap: the low bits of an image come from another image (Kim et al., arXiv 2007.07805, §2.1).

Here it is a transform, the first in the chain, on the raw pixels. The other images are those that the process has just
seen, so no second file is read, or any of a data set whose pixels are at hand. The paper takes k = 2 bits (§3.1) and
says neither how often an image is swapped nor where the other image comes from: the probability, the ring of images,
and cropping or repeating one of another size are ours.
"""

import warnings
from collections import deque
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

Pixels = TypeVar('Pixels', Image.Image, np.ndarray, torch.Tensor)
Array = np.ndarray | torch.Tensor

# A pixel of a PIL image as one number: Pillow's layout, the number's type, the lowest bit of each colour. Pillow stores
# RGB in four bytes, so this copy is the cheapest; the mask leaves alpha out.
_WORDS = {
    'L': ('L', np.dtype('u1'), 0x01),
    'LA': ('LA', np.dtype('<u2'), 0x0001),
    'RGB': ('RGBX', np.dtype('<u4'), 0x010101),
    'RGBA': ('RGBA', np.dtype('<u4'), 0x010101),
}
_COLOURS = {1: 1, 2: 1, 3: 3, 4: 3}  # by the number of channels; the rest is alpha


def lsb_swap(image: Pixels, donor: Pixels, k: int = 2, corner: tuple[int, int] = (0, 0)) -> Pixels:
    """Replace the k low bits of every colour of every pixel by those of another image.

    Swapping again with the original as the donor restores it: `lsb_swap(lsb_swap(a, b, k), a, k)` equals `a`. Alpha
    stays as it is, and that of the donor is ignored. Where a PNG file marks one colour as transparent, the pixels that
    have it, or would get it, are not swapped.

    Args:
        image: A PIL image (L, LA, RGB, RGBA), a uint8 array `(H, W)` or `(H, W, C)`, or a uint8 tensor `(H, W)` or
            `(..., C, H, W)`, with C in 1 … 4.
        donor: The image that provides the bits: of the same type, grey if the image is grey, of any size. It is
            repeated beyond its borders.
        k: How many bits, 0 … 8. 0 changes nothing, with a warning; 8 replaces the colours completely.
        corner: Row and column of the donor's pixel that is aligned with the image's first pixel.

    Returns:
        A new image like `image`.

    Raises:
        TypeError: If an image is of another type than those above, or the two have different types.
        ValueError: If a mode or shape is not supported, the two images do not match, the donor has no pixels, or k is
            out of range.

    Examples:
        >>> image, donor = np.uint8([[0b10110100]]), np.uint8([[0b01010111]])
        >>> print(f'{lsb_swap(image, donor, k=2).item():08b}')
        10110111
    """
    if check_bits(k) == 0:
        warnings.warn('lsb_swap with k=0 changes nothing', stacklevel=2)
    if not isinstance(donor, _kind(image)):
        raise TypeError(f'expected a donor of the same type as the image, {_name(image)}, got {_name(donor)}')
    pixels, donor_pixels = _read(image), _read(donor)
    if isinstance(image, Image.Image) and image.mode[0] == donor.mode[0]:
        donor_pixels = donor_pixels.astype(pixels.dtype, copy=False)  # L and LA
    if _group(pixels) != _group(donor_pixels):
        raise ValueError(f'expected a donor that fits {_describe(image)}, got {_describe(donor)}: convert one of them')
    if 0 in donor_pixels.shape and 0 not in pixels.shape:
        raise ValueError(f'the donor has no pixels: it is {_describe(donor)}')
    return _swapped(image, pixels, donor_pixels, k, corner)


class LSBSwap(v2.Transform):
    """Give an image the low bits of one seen before, at random.

    A torchvision v2 transform: it takes an image, or a sample that contains one, and belongs first in the chain, where
    the pixels are those of the file. A selected image takes its bits from a random image of a small ring of the latest
    selected images, then enters the ring as it was, in place of the oldest. The first one of a process finds the ring
    empty and is not changed. Grey and colour images have separate rings. Random numbers come from torch's generator.
    Which images a process has seen depends on the number of a DataLoader's workers, and so do the bits; in our training
    each batch begins with `forget()` and `donors`, and they depend on the seed alone.

    Args:
        k: How many bits, 0 … 8; 0 gives a warning.
        p: Probability that an image is selected.
        pool_size: Images in a ring. Each worker of a DataLoader keeps this many in memory, uncompressed.
        donors: A data set of PIL images without a transform: one of these, at random, lends its bits where the ring is
            empty. With `pool_size=0` there is no ring, and all bits come from these, as with cached images.

    Shape:
        PIL images (L, LA, RGB, RGBA), and uint8 tensors `(H, W)` or `(..., C, H, W)`, plain or tv_tensors.

    Raises:
        ValueError: If an argument is out of range, or an image has other channels than those above.
        TypeError: If a sample has no image, or one whose pixels are not uint8.

    Examples:
        >>> from torchvision import transforms
        >>> chain = transforms.Compose([LSBSwap(k=2, p=0.5), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
        >>> chain(Image.new('RGB', (4, 4))).shape
        torch.Size([3, 4, 4])
    """

    def __init__(self, k: int = 2, p: float = 0.5, pool_size: int = 16, donors: Any = None) -> None:
        super().__init__()
        if check_bits(k) == 0:
            warnings.warn('LSBSwap with k=0 changes nothing', stacklevel=2)
        if not 0 <= p <= 1:
            raise ValueError(f'p is a probability and must be in 0 … 1, got {p!r}')
        if isinstance(pool_size, bool) or not isinstance(pool_size, int) or pool_size < (donors is None):
            raise ValueError(f'pool_size must be a whole number of at least 1, got {pool_size!r}')
        self.k = k
        self.p = p
        self.pool_size = pool_size
        self.donors = donors
        self._pools: dict[tuple, deque[Array]] = {}

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) == 1 and isinstance(inputs[0], Image.Image):  # the usual case: no sample to walk through
            return self.transform(inputs[0], {})
        return super().forward(*inputs)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if not any(isinstance(x, Image.Image | torch.Tensor) for x in flat_inputs):
            found = ', '.join(sorted({_name(x) for x in flat_inputs})) or 'nothing'
            raise TypeError(f'expected a PIL image or a uint8 tensor, got {found}')

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, tv_tensors.Image | tv_tensors.Video):
            return inpt  # boxes, masks
        if self.k == 0 or torch.rand(()).item() >= self.p:
            return inpt
        result = None
        if self.donors is not None and not (self.pool_size and self._pools):
            donor = self.donors[_below(len(self.donors))][0]
            swapped = getattr(inpt, 'swapped', partial(lsb_swap, inpt))  # that of a CachedImage waits for the crop
            result = swapped(donor, self.k, _corner(donor.size[::-1], inpt.size[::-1]))
            if not self.pool_size:
                return result
        pixels = _read(inpt)
        if 0 in pixels.shape:
            return inpt
        pool = self._pools.setdefault(_group(pixels), deque(maxlen=self.pool_size))
        if result is None and pool:
            donor = pool[_below(len(pool))]
            result = _swapped(inpt, pixels, donor, self.k, _corner(donor.shape[-2:], pixels.shape[-2:]))
        pool.append(pixels.clone() if isinstance(pixels, torch.Tensor) else pixels)
        return inpt if result is None else result

    def forget(self) -> None:
        """Empty the ring."""
        self._pools.clear()

    _check_inputs, _transform = check_inputs, transform  # the names before torchvision 0.21

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), '_pools': {}}  # a copy, or a worker, starts with an empty ring


def check_bits(k: int) -> int:
    """Return k, or raise a ValueError if it is not a number of bits."""
    if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k <= 8:
        raise ValueError(f'k is a number of bits and must be a whole number in 0 … 8, got {k!r}')
    return k


def _corner(donor: tuple[int, int], image: tuple[int, int]) -> tuple[int, int]:
    """A random place in a donor, both as (height, width): any part of a larger one, any pixel of one to be repeated."""
    sizes = zip(donor, image, strict=True)
    return tuple(_below(theirs - ours + 1 if theirs >= ours else theirs) for theirs, ours in sizes)


def _below(n: int) -> int:
    return torch.randint(n, ()).item()


def _kind(image: Any) -> type:
    for kind in (Image.Image, np.ndarray, torch.Tensor):
        if isinstance(image, kind):
            return kind
    raise TypeError(f'expected a PIL image, a uint8 array or a uint8 tensor, got {_name(image)}')


def _name(image: Any) -> str:
    return f'{type(image).__module__}.{type(image).__qualname__}'


def _describe(image: Pixels) -> str:
    return f'mode {image.mode}' if isinstance(image, Image.Image) else f'shape {tuple(image.shape)}'


def _group(pixels: Array) -> tuple:
    """What two images must have in common to swap bits."""
    return type(pixels), pixels.dtype, tuple(pixels.shape[:-2])


def _read(image: Pixels) -> Array:
    """The colours of an image as `(..., H, W)`: a word for each pixel of a PIL image, a view of others."""
    if _kind(image) is Image.Image:
        if image.mode not in _WORDS:
            raise ValueError(
                f'expected an image of mode {", ".join(_WORDS)}, got {image.mode}: convert it first, as in '
                f"image.convert('RGB')"
            )
        layout, dtype, _ = _WORDS[image.mode]
        return np.frombuffer(image.tobytes('raw', layout), dtype).reshape(image.height, image.width)
    if image.dtype not in (np.uint8, torch.uint8):
        raise TypeError(f'expected pixels of type uint8, got {image.dtype}: swap before they are scaled')
    is_array = isinstance(image, np.ndarray)
    if image.ndim == 2:
        return image
    if image.ndim < 2 or (is_array and image.ndim > 3) or image.shape[-1 if is_array else -3] not in _COLOURS:
        form = '(H, W, C)' if is_array else '(..., C, H, W)'
        raise ValueError(f'expected the shape (H, W) or {form} with C in 1 … 4, got {tuple(image.shape)}')
    pixels = image.transpose(2, 0, 1) if is_array else image
    return pixels[..., : _COLOURS[pixels.shape[-3]], :, :]


def _swapped(image: Pixels, pixels: Array, donor: Array, k: int, corner: tuple[int, int]) -> Pixels:
    """A new image like `image`, whose colours are `pixels`, with the low bits of a donor."""
    mask = (1 << k) - 1
    if isinstance(image, Image.Image):
        layout, _, lowest = _WORDS[image.mode]
        mask *= lowest
    swapped = pixels ^ _window(donor, pixels.shape[-2:], corner)
    swapped &= mask
    swapped ^= pixels
    if isinstance(image, Image.Image):
        result = Image.new(image.mode, image.size, None)  # not filled first, as `Image.frombytes` does
        result.frombytes(swapped, 'raw', layout)
        result.info = dict(image.info)
        if 'transparency' in image.info and image.mode in ('L', 'RGB'):  # a colour that means transparent
            # the pixels that have it, and those that would get it, stay as they are
            has_key = (_alpha(image) == 0) | (_alpha(result) == 0)
            result.paste(image, mask=Image.fromarray(has_key))
        return result
    if isinstance(image, np.ndarray) and swapped.size == image.size:  # no alpha
        return np.ascontiguousarray(swapped if image.ndim == 2 else swapped.transpose(1, 2, 0))
    result = image.copy() if isinstance(image, np.ndarray) else image.clone()
    _read(result)[...] = swapped
    return tv_tensors.wrap(result, like=image) if isinstance(image, tv_tensors.TVTensor) else result


def _alpha(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert('RGBA'))[..., 3]


def _window(donor: Array, size: tuple[int, int], corner: tuple[int, int]) -> Array:
    """The part of a donor from a corner on: a view if the donor is large enough, a repetition if not."""
    for axis in (-2, -1):
        length = donor.shape[axis]
        start, missing, parts = corner[axis] % max(length, 1), size[axis], []
        while missing or not parts:
            stop = min(start + missing, length)
            parts.append(donor[..., start:stop, :] if axis == -2 else donor[..., start:stop])
            start, missing = 0, missing - (stop - start)
        if len(parts) == 1:
            donor = parts[0]
        else:
            donor = np.concatenate(parts, axis) if isinstance(donor, np.ndarray) else torch.cat(parts, axis)
    return donor
