"""Data: LSB swap, transforms, image folders that name a broken image, cached images, subsets, and the demo set."""

from .cache import CachedImageDataset, Shrink
from .datasets import CorruptImageError, StrictImageDataset, image_extensions, register_image_extensions, skipped_files
from .demo import make_demo_data
from .labels import csv_source
from .lsb_swap import LSBSwap, lsb_swap
from .subset import make_subset
from .timm_sets import timm_source
from .transforms import create_transform

__all__ = [
    'CachedImageDataset',
    'CorruptImageError',
    'LSBSwap',
    'Shrink',
    'StrictImageDataset',
    'create_transform',
    'csv_source',
    'image_extensions',
    'lsb_swap',
    'make_demo_data',
    'make_subset',
    'register_image_extensions',
    'skipped_files',
    'timm_source',
]
