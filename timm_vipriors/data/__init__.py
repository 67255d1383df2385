"""Data: LSB swap, transforms, the demo set, and image folders that name a broken image."""

from .demo import make_demo_data
from .lsb_swap import LSBSwap, lsb_swap
from .strict import CorruptImageError, StrictImageDataset
from .subset import make_subset
from .transforms_factory import create_transform

__all__ = [
    'CorruptImageError',
    'LSBSwap',
    'StrictImageDataset',
    'create_transform',
    'lsb_swap',
    'make_demo_data',
    'make_subset',
]
