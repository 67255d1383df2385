"""Real data sets that need no download, as image folders: digits, clothes (Fashion-MNIST) and printed characters."""

import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ..errors import UserError
from .demo_characters import character_tree, draw_characters

# split, class, file name without its ending, grey image
Sample = tuple[str, str, str, Image.Image]

FASHION_CLASSES = ('t-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle-boot')
_FASHION_VALIDATION = 100  # images of each class


def make_demo_data(
    root: str | os.PathLike,
    per_class: int | None = None,
    size: int = 32,
    seed: int = 0,
    set: Literal['digits', 'fashion', 'characters'] = 'digits',
) -> tuple[int, ...]:
    """Write a small data set as folders of grey PNG files, `root/<split>/<class>/<name>.png`.

    The training images are a random choice by `seed`, so several seeds make several training sets. The splits share no
    image, and those of the characters no font:

    * `digits`: scikit-learn's 1,797 handwritten digits (8×8, 10 classes; UCI's optical recognition set), scaled up and
      named by their index. All that are not in train are in validation.
    * `fashion`: Fashion-MNIST (28×28, 10 classes) from Debian's package dataset-fashion-mnist. Train and validation
      (1,000 images) come from its training images; test has all of its 10,000 test images.
    * `characters`: 240 letters, digits and signs in the fonts of this machine, each image from another font family.
      Half of the families that train leaves are in validation, half in test. `root/hierarchy.json` has the tree:
      script, case, letter. It differs with the fonts that are installed.

    Args:
        root: The folder to make. It must not exist, or be empty.
        per_class: Images of each class in train; None for 50, 10 and 3.
        size: Width and height of the images in pixels.
        seed: Seed of the choice.
        set: Which data set.

    Returns:
        The number of images in train, in validation and, where there is one, in test.

    Raises:
        UserError: If the source of the images is missing, the folder has content, or a number is out of range.
    """
    if not 8 <= size <= 1024:
        raise UserError(f'--size must be in 8 … 1024 pixels, got {size}')
    if seed < 0:
        raise UserError(f'--seed must be at least 0, got {seed}')
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f'{root} exists and is not empty: name another folder, or remove it first')
    makers: dict[str, tuple[int, Callable[[int, int, int], Iterator[Sample]]]] = {
        'digits': (50, _digits),
        'fashion': (10, _fashion),
        'characters': (3, draw_characters),
    }
    default, make = makers[set]
    samples = make(default if per_class is None else per_class, size, seed)
    first = next(samples)  # what is missing or out of range shows before anything is written

    root.parent.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix=f'.{root.name}-', dir=root.parent) as tmp:
        data = Path(tmp, 'data')  # becomes root in one step, so root is never half written
        for split, label, name, image in (first, *samples):
            folder = data / split / label
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f'{name}.png')
            counts[split] = counts.get(split, 0) + 1
        if set == 'characters':
            character_tree().save(data / 'hierarchy.json')
        data.replace(root)
    return tuple(counts.values())


def _check_per_class(per_class: int, most: int, reason: str) -> None:
    if not 1 <= per_class <= most:
        raise UserError(f'--per-class must be in 1 … {most}, {reason}: {per_class}')


def _digits(per_class: int, size: int, seed: int) -> Iterator[Sample]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("the demo data needs scikit-learn: pip install 'timm-vipriors[demo]'") from None
    digits = load_digits()
    smallest = int(np.bincount(digits.target).min())
    _check_per_class(per_class, smallest - 1, f'the smallest class having {smallest}')
    order = np.random.default_rng(seed).permutation(len(digits.target))
    for label in range(10):
        for rank, index in enumerate(i for i in order if digits.target[i] == label):
            split = 'train' if rank < per_class else 'validation'
            pixels = (digits.images[index] * (255 / 16)).round().astype(np.uint8)
            yield split, str(label), f'{index:04d}', _scaled(pixels, size)


def _fashion(per_class: int, size: int, seed: int) -> Iterator[Sample]:
    images, labels = _read_fashion('train')
    most = int(np.bincount(labels).min()) - _FASHION_VALIDATION
    _check_per_class(per_class, most, f'{_FASHION_VALIDATION} of each class being for validation')
    order = np.random.default_rng(seed).permutation(len(labels))
    for label, name in enumerate(FASHION_CLASSES):
        chosen = order[labels[order] == label][: per_class + _FASHION_VALIDATION]
        for rank, index in enumerate(chosen):
            split = 'train' if rank < per_class else 'validation'
            yield split, name, f'{index:05d}', _scaled(images[index], size)
    for index, (pixels, label) in enumerate(zip(*_read_fashion('t10k'), strict=True)):
        yield 'test', FASHION_CLASSES[label], f'{index:05d}', _scaled(pixels, size)


def _read_fashion(part: str) -> tuple[np.ndarray, np.ndarray]:
    folder = Path(os.environ.get('FASHION_MNIST', '/usr/share/datasets/fashion-mnist'))
    try:
        with gzip.open(folder / f'{part}-images-idx3-ubyte.gz') as file:
            images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(folder / f'{part}-labels-idx1-ubyte.gz') as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)
    except OSError as e:
        raise UserError(
            f"the clothes are in Debian's package dataset-fashion-mnist (apt-get install dataset-fashion-mnist), or in "
            f'the folder $FASHION_MNIST with the four .gz files of Fashion-MNIST: {e}'
        ) from None
    return images, labels


def _scaled(pixels: np.ndarray, size: int) -> Image.Image:
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
