"""A real data set that needs no download: scikit-learn's handwritten digits, as an image folder."""

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError


def make_demo_data(root: str | os.PathLike, per_class: int = 50, size: int = 32, seed: int = 0) -> tuple[int, int]:
    """Write scikit-learn's 1,797 digits (8×8, 10 classes; UCI's optical recognition set) as an ImageFolder.

    The images are scaled up bicubically and written as grey PNG files to `root/train/<digit>/` and
    `root/validation/<digit>/`, named by their index in scikit-learn's array.

    Args:
        root: The folder to make. It must not exist, or be empty.
        per_class: Images of each class in train; all others go to validation.
        size: Width and height of the images in pixels.
        seed: Seed of the choice.

    Returns:
        The number of images in train and in validation.

    Raises:
        UserError: If scikit-learn is missing, the folder has content, or a number is out of range.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("the demo data needs scikit-learn: pip install 'timm-vipriors[demo]'") from None
    digits = load_digits()
    smallest = int(np.bincount(digits.target).min())
    if not 1 <= per_class < smallest:
        raise UserError(f'--per-class must be in 1 … {smallest - 1}, the smallest class having {smallest}: {per_class}')
    if not 8 <= size <= 1024:
        raise UserError(f'--size must be in 8 … 1024 pixels, got {size}')
    if seed < 0:
        raise UserError(f'--seed must be at least 0, got {seed}')
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f'{root} exists and is not empty: name another folder, or remove it first')

    root.parent.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(digits.target))
    counts = {'train': 0, 'validation': 0}
    with tempfile.TemporaryDirectory(prefix=f'.{root.name}-', dir=root.parent) as tmp:
        data = Path(tmp, 'data')  # becomes root in one step, so root is never half written
        for label in range(10):
            for rank, index in enumerate(i for i in order if digits.target[i] == label):
                split = 'train' if rank < per_class else 'validation'
                pixels = (digits.images[index] * (255 / 16)).round().astype(np.uint8)
                image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
                folder = data / split / str(label)
                folder.mkdir(parents=True, exist_ok=True)
                image.save(folder / f'{index:04d}.png')
                counts[split] += 1
        data.replace(root)
    return counts['train'], counts['validation']
