"""timm's `create_transform` with LSB swap as the first transform."""

from typing import Any
from unittest import mock

import timm.data
from PIL import Image
from timm.data import auto_augment
from torchvision import transforms

from .lsb_swap import LSBSwap


def create_transform(
    input_size: int | tuple[int, ...] = 224,
    is_training: bool = False,
    *args: Any,
    lsb_swap: int = 0,
    lsb_prob: float = 0.5,
    **kwargs: Any,
) -> transforms.Compose | tuple[transforms.Compose, ...]:
    """timm's `create_transform`, in which `LSBSwap` comes first in training.

    Args:
        input_size: The size, (height, width), or (channels, height, width).
        is_training: Whether to make a training transform. An evaluation transform never swaps.
        *args: Passed to timm's `create_transform`.
        lsb_swap: How many bits `LSBSwap` takes from another image; 0 leaves it out.
        lsb_prob: Its probability.
        **kwargs: Passed to timm's `create_transform`.

    Returns:
        The transform, or with `separate=True` timm's three in a tuple, the first of which swaps.

    Raises:
        ValueError: If a number is out of range.

    Examples:
        >>> create_transform(224, is_training=True, lsb_swap=2).transforms[0]
        LSBSwap(k=2, p=0.5, pool_size=16)
    """
    with posterize_to_a_bit():
        transform = timm.data.create_transform(input_size, is_training, *args, **kwargs)
    if is_training and lsb_swap:
        put_first(LSBSwap(lsb_swap, lsb_prob), transform[0] if isinstance(transform, tuple) else transform)
    return transform


def put_first(first: LSBSwap, transform: transforms.Compose) -> None:
    """Put LSB swap first in a composition of transforms, in place."""
    if not isinstance(transform, transforms.Compose):
        raise ValueError(f'LSB swap goes before a composition of transforms, got {type(transform).__name__}')
    transform.transforms.insert(0, first)


def posterize_to_a_bit() -> mock._patch_dict:
    """A context in which timm makes policies whose 'Posterize' keeps at least one bit.

    `rand-m9-mstd0.5-inc1` now and then asks for none: a black image, or with newer versions of Pillow an error.
    """
    ops = [name for name in auto_augment.NAME_TO_OP if name.startswith('Posterize')]
    return mock.patch.dict(auto_augment.NAME_TO_OP, dict.fromkeys(ops, _posterize))


def _posterize(image: Image.Image, bits: int, **kwargs: Any) -> Image.Image:
    return auto_augment.posterize(image, max(bits, 1), **kwargs)
