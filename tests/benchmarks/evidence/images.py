"""The data sets in memory, and augmentation of whole batches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from timm_vipriors.data import make_demo_data
from timm_vipriors.hierarchy import ClassHierarchy

PER_CLASS = {'digits': 10, 'fashion': 10, 'characters': 3}
MIRRORED = {'fashion'}  # sets whose images may be flipped
DEGREES = {'digits': 10, 'fashion': 5, 'characters': 8}


@dataclass
class Images:
    train: torch.Tensor  # (N, 1, H, W) uint8
    train_target: torch.Tensor
    test: torch.Tensor
    test_target: torch.Tensor
    classes: list[str]
    hierarchy: ClassHierarchy | None
    mean: float
    std: float


def load(root: Path, data: str, part: str, data_seed: int, per_class: int, size: int) -> Images:
    """Read a set from its folders, which are made where they are missing.

    Digits have no test images: the final table takes those that are in no training set of its own seed.
    """
    per_class = per_class or PER_CLASS[data]
    folder = root / f'{data}-{per_class}x{size}-{data_seed}'
    if not folder.exists():
        make_demo_data(folder, per_class, size, data_seed, set=data)
    train, train_target, classes = _read(folder / 'train')
    held_out = 'test' if part == 'final' and data != 'digits' else 'validation'
    test, test_target, test_classes = _read(folder / held_out)
    assert classes == test_classes
    tree = folder / 'hierarchy.json'
    hierarchy = ClassHierarchy.load(tree) if tree.exists() else None
    assert hierarchy is None or list(hierarchy.class_names) == classes
    pixels = train.float() / 255
    return Images(train, train_target, test, test_target, classes, hierarchy, pixels.mean().item(), pixels.std().item())


def _read(folder: Path) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    classes = sorted(path.name for path in folder.iterdir())
    pixels, target = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            with Image.open(path) as image:
                pixels.append(np.asarray(image))
            target.append(label)
    return torch.from_numpy(np.stack(pixels))[:, None], torch.tensor(target), classes


def augment(x: torch.Tensor, generator: torch.Generator, scale: float, degrees: float, mirrored: bool) -> torch.Tensor:
    """Crop, resize, turn and mirror each image of a batch (B, C, H, W) at random: one grid_sample."""
    count, device = len(x), x.device

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, device=device)

    area, log_ratio = uniform(scale, 1), uniform(np.log(3 / 4), np.log(4 / 3))
    width = (area * log_ratio.exp()).sqrt().clamp(max=1)
    height = (area / log_ratio.exp()).sqrt().clamp(max=1)
    left, top = (1 - width) * uniform(-1, 1), (1 - height) * uniform(-1, 1)
    angle = uniform(-degrees, degrees) * (np.pi / 180)
    flip = torch.where((uniform(0, 1) < 0.5) & mirrored, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([flip * width * cos, -height * sin, left], dim=1),
        torch.stack([flip * width * sin, height * cos, top], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode='bilinear', padding_mode='border', align_corners=False)


def cutmix(
    x: torch.Tensor, target: torch.Tensor, num_classes: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """CutMix with one box a batch; soft labels (B, C)."""
    soft = F.one_hot(target, num_classes).float()
    order = torch.randperm(len(x), generator=generator)
    height, width = x.shape[2:]
    share = (1 - torch.rand((), generator=generator).item()) ** 0.5
    h, w = round(height * share), round(width * share)
    top = int(torch.randint(height - h + 1, (), generator=generator))
    left = int(torch.randint(width - w + 1, (), generator=generator))
    mixed = x.clone()
    mixed[:, :, top : top + h, left : left + w] = x[order, :, top : top + h, left : left + w]
    kept = 1 - h * w / (height * width)
    return mixed, kept * soft + (1 - kept) * soft[order]


def lsb_swap(x: torch.Tensor, p: float, generator: torch.Generator) -> torch.Tensor:
    """Kim §2.1 on a batch of uint8: the two low bits come from another image of the batch."""
    order = torch.randperm(len(x), generator=generator)
    swapped = (x & 0xFC) | (x[order] & 0x03)
    chosen = torch.rand(len(x), generator=generator) < p
    return torch.where(chosen.view(-1, 1, 1, 1), swapped, x)
