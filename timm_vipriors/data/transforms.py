"""timm's `create_transform` with LSB swap in front."""

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
    """timm's `create_transform`, where training images first have their low bits swapped.

    Args:
        input_size: As timm has it: the size, or (height, width), or (channels, height, width).
        is_training: Whether to make a training transform. One for evaluation never swaps.
        *args: More for timm's `create_transform`.
        lsb_swap: How many bits `LSBSwap` takes from another image; 0 leaves it out.
        lsb_prob: Its probability.
        **kwargs: More for timm's `create_transform`.

    Returns:
        The transform, or with `separate=True` timm's three in a tuple, of which the first swaps.

    Raises:
        ValueError: If a number is out of range.
    """
    transform = timm.data.create_transform(input_size, is_training, *args, **kwargs)
    if is_training and lsb_swap:
        put_first(LSBSwap(lsb_swap, lsb_prob), transform[0] if isinstance(transform, tuple) else transform)
    return transform


def put_first(first: LSBSwap, transform: transforms.Compose) -> None:
    """Put a transform before the others of a composition, in place."""
    if not isinstance(transform, transforms.Compose):
        raise ValueError(f'LSB swap goes before a composition of transforms, got {type(transform).__name__}')
    transform.transforms.insert(0, first)
