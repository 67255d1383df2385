"""Data: the demo set, and image folders that name a broken image."""

from .demo import make_demo_data
from .strict import CorruptImageError, StrictImageDataset

__all__ = ['CorruptImageError', 'StrictImageDataset', 'make_demo_data']
