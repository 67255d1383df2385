"""Test-time augmentation: the views of an image whose probabilities are averaged.

Ten crops are torchvision's. The random views are Kim's (arXiv 2007.07805, §3.1): the training transform, with
RandAugment, several times. We seed them by the image, so that they are the same in every run.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from timm.data.transforms import MaybePILToTensor
from torchvision import transforms

from ..data.seeding import seeded
from ..data.transforms import create_transform

DEFAULT_POLICY = 'rand-m9-mstd0.5'


def parse_tta(spec: str) -> tuple[str, int]:
    """The kind of a specification and its number of views.

    Raises:
        ValueError: If it is none of `none`, `hflip`, `ten-crop` and `randaug:N`.

    >>> parse_tta('randaug:3')
    ('randaug', 3)
    """
    numbers = {'none': 1, 'hflip': 2, 'ten-crop': 10}
    if spec in numbers:
        return spec, numbers[spec]
    match = re.fullmatch(r'randaug:([1-9][0-9]{0,3})', spec)
    if match is None:
        raise ValueError(f'expected none, hflip, ten-crop or randaug:N with N in 1 … 9999, got {spec!r}')
    return 'randaug', int(match[1])


def create_tta_transform(
    spec: str, data_config: dict[str, Any], train_config: dict[str, Any] | None = None, seed: int = 42
) -> Callable[[Image.Image], torch.Tensor]:
    """A transform that makes all views of a PIL image, uint8 `(V, C, H, W)`; `views` adds the mirrored one of `hflip`.

    Args:
        spec: `none` and `hflip`: the evaluation's crop. `ten-crop`: torchvision's ten crops of the image as the
            evaluation resizes it. `randaug:N`: N views by the training transform.
        data_config: As timm's `resolve_data_config` returns it.
        train_config: What the training gave to timm's `create_transform`: auto_augment (by default that of Kim's
            authors), scale, ratio, hflip …
        seed: Seed of the random views.

    Raises:
        ValueError: If the specification is unknown, or the ten crops would not differ.
    """
    kind, number = parse_tta(spec)
    size = data_config['input_size']
    common = dict(mean=data_config['mean'], std=data_config['std'], use_prefetcher=True)
    if kind == 'randaug':
        train_config = {'auto_augment': DEFAULT_POLICY, **(train_config or {})}
        one = create_transform(size, is_training=True, **{**train_config, **common})
        return RandomViews(one, number, seed)
    keys = ('interpolation', 'crop_pct', 'crop_mode')
    steps = create_transform(size, **{k: data_config[k] for k in keys if k in data_config}, **common).transforms
    if kind != 'ten-crop':
        return transforms.Compose([*steps, partial(torch.unsqueeze, dim=0)])
    crop = next((i for i, step in enumerate(steps) if isinstance(step, transforms.CenterCrop)), 0)
    resize = transforms.Compose(steps[:crop])
    width, height = resize(Image.new('L', (size[2], size[1]))).size  # the smallest image that crops are taken from
    if width <= size[2] or height <= size[1]:
        raise ValueError(
            f'the ten crops would coincide: with crop_pct {data_config["crop_pct"]} and crop_mode '
            f'{data_config["crop_mode"]} the resized image is not larger than a crop; pass for example '
            '--crop-pct 0.875 --crop-mode center'
        )
    return transforms.Compose([resize, transforms.TenCrop(size[-2:]), _stacked])


def views(spec: str, batch: torch.Tensor) -> Iterator[torch.Tensor]:
    """The views of a batch `(B, V, C, H, W)` in turn, `(B, C, H, W)` each; `hflip` adds the mirrored one."""
    for view in batch.unbind(1):
        yield view
        if spec == 'hflip':
            yield view.flip(-1)


def _stacked(images: Sequence[Image.Image]) -> torch.Tensor:
    return torch.stack([MaybePILToTensor()(image) for image in images])


class RandomViews:
    """Several views of an image by a random transform, seeded by its pixels, not by the order of the images."""

    def __init__(self, transform: Callable[[Image.Image], torch.Tensor], number: int, seed: int) -> None:
        self.transform, self.number, self.seed = transform, number, seed

    def __call__(self, image: Image.Image) -> torch.Tensor:
        with seeded(self.seed, zlib.crc32(image.tobytes())):
            return torch.stack([self.transform(image) for _ in range(self.number)])
