"""timm's `create_transform` with LSB swap as the first transform."""

from typing import Any

import timm.data
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
    transform = timm.data.create_transform(input_size, is_training, *args, **kwargs)
    if is_training and lsb_swap:
        put_first(LSBSwap(lsb_swap, lsb_prob), transform[0] if isinstance(transform, tuple) else transform)
    return transform


def put_first(first: LSBSwap, transform: transforms.Compose) -> None:
    """Put LSB swap first in a composition of transforms, in place."""
    if not isinstance(transform, transforms.Compose):
        raise ValueError(f'LSB swap goes before a composition of transforms, got {type(transform).__name__}')
    transform.transforms.insert(0, first)
