"""Data: LSB swap, transforms, image folders that name a broken image, subsets, and the demo set."""

from .datasets import CorruptImageError, StrictImageDataset
from .demo import make_demo_data
from .lsb_swap import LSBSwap, lsb_swap
from .subset import make_subset
from .transforms import create_transform

__all__ = [
    'CorruptImageError',
    'LSBSwap',
    'StrictImageDataset',
    'create_transform',
    'lsb_swap',
    'make_demo_data',
    'make_subset',
]
