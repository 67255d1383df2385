"""Test-time augmentation: the views of an image whose probabilities are averaged.

Ten crops are torchvision's. The random views are Kim's (arXiv 2007.07805, §3.1): the training's own transform, with
RandAugment, several times; ours is that they are seeded by the image, so that they are the same in every run.
"""

import random
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import MaybePILToTensor
from torchvision import transforms

from ..data.seeding import kept_random_state

DEFAULT_POLICY = 'rand-m9-mstd0.5'
TTA_HELP = 'none, hflip, ten-crop or randaug:N'


def parse_tta(spec: str) -> tuple[str, int]:
    """The kind of a specification and its number of views.

    Raises:
        ValueError: If it is none of `none`, `hflip`, `ten-crop` and `randaug:N`.
    """
    numbers = {'none': 1, 'hflip': 2, 'ten-crop': 10}
    if spec in numbers:
        return spec, numbers[spec]
    match = re.fullmatch(r'randaug:([1-9][0-9]{0,3})', spec)
    if match is None:
        raise ValueError(f'expected {TTA_HELP} with N in 1 … 9999, got {spec!r}')
    return 'randaug', int(match[1])


def create_tta_transform(
    spec: str, data_config: dict[str, Any], train_config: dict[str, Any] | None = None, seed: int = 42
) -> Callable[[Image.Image], torch.Tensor]:
    """A transform of PIL images that gives all views of an image.

    Args:
        spec: `none` and `hflip`: the evaluation's crop. `ten-crop`: torchvision's ten crops of the image as the
            evaluation resizes it. `randaug:N`: N views by the training's transform.
        data_config: As timm's `resolve_data_config` returns it.
        train_config: What a training has given to timm's `create_transform`: auto_augment, scale, ratio, hflip …
            Without an auto_augment, `rand-m9-mstd0.5`, that of Kim's authors.
        seed: Seed of the random views.

    Returns:
        A transform that returns uint8 tensors `(V, C, H, W)`. The mirrored view of `hflip` is left to `views`.

    Raises:
        ValueError: If the specification is unknown, or the evaluation pads images, which leaves no crops to choose.
    """
    kind, number = parse_tta(spec)
    size = data_config['input_size']
    common = dict(mean=data_config['mean'], std=data_config['std'], use_prefetcher=True)
    if kind == 'randaug':
        train_config = {'auto_augment': DEFAULT_POLICY, **(train_config or {})}
        return RandomViews(create_transform(size, is_training=True, **{**train_config, **common}), number, seed)
    keys = ('interpolation', 'crop_pct', 'crop_mode')
    transform = create_transform(size, **{k: data_config[k] for k in keys if k in data_config}, **common)
    if kind != 'ten-crop':
        return transforms.Compose([*transform.transforms, OneView()])
    steps = transform.transforms
    crops = [i for i, step in enumerate(steps) if isinstance(step, transforms.CenterCrop)]
    if len(crops) != 1:
        raise ValueError(f'ten-crop needs an evaluation that crops, the crop mode {data_config["crop_mode"]} does not')
    return transforms.Compose([*steps[: crops[0]], transforms.TenCrop(size[-2:]), Stack()])


def views(spec: str, batch: torch.Tensor) -> Iterator[torch.Tensor]:
    """The views of a batch `(B, V, C, H, W)` in turn, `(B, C, H, W)` each; `hflip` adds the mirrored one."""
    for view in batch.unbind(1):
        yield view
        if spec == 'hflip':
            yield view.flip(-1)


class OneView:
    """`(C, H, W)` as `(1, C, H, W)`."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image[None]


class Stack:
    """PIL images as one uint8 tensor `(V, C, H, W)`."""

    def __init__(self) -> None:
        self.to_tensor = MaybePILToTensor()

    def __call__(self, images: list[Image.Image]) -> torch.Tensor:
        return torch.stack([self.to_tensor(image) for image in images])


class RandomViews:
    """Several views of an image by a random transform, seeded by the image's pixels.

    So they depend on neither the order of the images nor the number of worker processes.
    """

    def __init__(self, transform: Callable[[Image.Image], torch.Tensor], number: int, seed: int) -> None:
        self.transform = transform
        self.number = number
        self.seed = seed

    def __call__(self, image: Image.Image) -> torch.Tensor:
        with seeded(zlib.crc32(image.tobytes(), self.seed & 0xFFFFFFFF)):
            return torch.stack([self.transform(image) for _ in range(self.number)])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of Python, NumPy and torch, which timm's augmentations use, and put them back after."""
    with kept_random_state():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        yield
