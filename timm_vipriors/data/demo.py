"""Real data sets that need no download, as image folders: digits, clothes (Fashion-MNIST) and printed characters."""

import gzip
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ..errors import UserError
from .demo_characters import Sample, character_tree, draw_characters

FASHION_CLASSES = ('t-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle-boot')


def make_demo_data(
    root: str | os.PathLike,
    per_class: int | None = None,
    size: int = 32,
    seed: int = 0,
    set: Literal['digits', 'fashion', 'characters'] = 'digits',
) -> tuple[int, ...]:
    """Write a small data set as folders of grey PNG files, `root/<split>/<class>/<name>.png`.

    The seed chooses the images of train. Splits share no image, and splits of the characters no font family.

    * digits: scikit-learn's 1,797 handwritten digits (8×8, 10 classes; UCI's optical recognition set), scaled up and
      named by their index. What is not in train is in validation.
    * fashion: Fashion-MNIST (28×28, 10 classes) from Debian's package dataset-fashion-mnist. Train and validation
      (100 of each class) come from its training images; test has its 10,000 test images.
    * characters: 240 letters, digits and signs. Each image of a class is in another of the installed font families;
      up to 20 that train leaves are in validation, up to 20 in test. `root/hierarchy.json` has the tree of the classes.

    Args:
        root: The folder to make. It must not exist, or be empty.
        per_class: Images of each class in train; None for 50 digits, 10 pieces of clothing, or 3 of each character.
        size: Width and height of the images in pixels.
        seed: Seed of the choice.
        set: Which data set.

    Returns:
        The number of images in train, in validation and, except for the digits, in test.

    Raises:
        UserError: If the source of the images is missing, the folder has content, or a number is out of range.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     make_demo_data(f'{folder}/digits')
        (500, 1297)
    """
    if not 8 <= size <= 1024:
        raise UserError(f'--size must be in 8 … 1024 pixels, got {size}')
    if seed < 0:
        raise UserError(f'--seed must be at least 0, got {seed}')
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f'{root} exists and is not empty: name another folder, or remove it first')
    characters = partial(draw_characters, size=size)
    make, default = {'digits': (_digits, 50), 'fashion': (_fashion, 10), 'characters': (characters, 3)}[set]
    samples = make(default if per_class is None else per_class, np.random.default_rng(seed))
    first = next(samples)  # errors come before anything is written

    root.parent.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix=f'.{root.name}-', dir=root.parent) as tmp:
        data = Path(tmp, 'data')  # becomes root in one step, so root is never half written
        for split, label, name, pixels in (first, *samples):
            folder = data / split / label
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(folder / f'{name}.png')
            counts[split] += 1
        if set == 'characters':
            character_tree().save(data / 'hierarchy.json')
        data.replace(root)
    return tuple(counts.values())


def _digits(per_class: int, rng: np.random.Generator) -> Iterator[Sample]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("the demo data needs scikit-learn: pip install 'timm-vipriors[demo]'") from None
    digits = load_digits()
    if not 1 <= per_class <= 173:
        raise UserError(f'--per-class must be in 1 … 173, the smallest class having 174 images: {per_class}')
    order = rng.permutation(len(digits.target))
    for label in range(10):
        for rank, index in enumerate(order[digits.target[order] == label]):
            pixels = (digits.images[index] * (255 / 16)).round().astype(np.uint8)
            yield 'train' if rank < per_class else 'validation', str(label), f'{index:04d}', pixels


def _fashion(per_class: int, rng: np.random.Generator) -> Iterator[Sample]:
    images, labels = _read_fashion('train')
    if not 1 <= per_class <= 5900:
        raise UserError(f'--per-class must be in 1 … 5900, 100 of the 6,000 being for validation: {per_class}')
    order = rng.permutation(len(labels))
    for label, name in enumerate(FASHION_CLASSES):
        for rank, index in enumerate(order[labels[order] == label][: per_class + 100]):
            split = 'train' if rank < per_class else 'validation'
            yield split, name, f'{index:05d}', images[index]
    for index, (pixels, label) in enumerate(zip(*_read_fashion('t10k'), strict=True)):
        yield 'test', FASHION_CLASSES[label], f'{index:05d}', pixels


def _read_fashion(part: str) -> tuple[np.ndarray, np.ndarray]:
    folder = Path(os.environ.get('FASHION_MNIST', '/usr/share/datasets/fashion-mnist'))
    try:
        images, labels = (
            np.frombuffer(gzip.decompress((folder / f'{part}-{name}-ubyte.gz').read_bytes()), np.uint8)
            for name in ('images-idx3', 'labels-idx1')
        )
    except (OSError, EOFError) as e:
        raise UserError(
            "Fashion-MNIST is needed, from Debian's package (apt-get install dataset-fashion-mnist) or its four .gz "
            f'files in the folder $FASHION_MNIST: {e}'
        ) from None
    return images[16:].reshape(-1, 28, 28), labels[8:]
