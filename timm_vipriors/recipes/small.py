"""The recommended start: a network and settings chosen from the number, size and kind of the training images."""

import math
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import timm
import torch
from torch.nn import functional as F

from ..data.datasets import CorruptImageError, decode
from ..errors import UserError
from ..files import available_cores
from ..scripts.folders import check_split, find_images

_MODEL = 'sk_resnext50_32x4d'  # of VIPF Table 1; the evidence has no row that is above it by more than the noise
# the same blocks, one a stage and narrow: 0.5 million parameters
_NARROW = {
    'layers': (1, 1, 1, 1),
    'channels': (32, 48, 64, 96),
    'cardinality': 8,
    'base_width': 8,
    'block_args': {'sk_kwargs': {'rd_ratio': 0.125, 'rd_divisor': 8, 'split_input': False}},
}
_SAMPLE = 64  # images that are opened
_AUGMENTED_EPOCHS = 100  # RandAugment gained 0.6 to 3.3 points in runs of 100 to 141 epochs, and lost 3 in one of 80
_FEWEST_EPOCHS = 60  # on few images shorter runs lose more than smaller images do


@dataclass(frozen=True)
class Facts:
    """What a choice depends on.

    Args:
        images: Training images.
        classes: Their classes.
        fewest: Images of the smallest class.
        side: Median of the images' shorter sides in pixels.
        gray: No image has a color.
        seconds: Time to decode one of them.
    """

    images: int
    classes: int
    fewest: int
    side: int
    gray: bool
    seconds: float = 0.0

    @classmethod
    def of(cls, root: str, split: str = 'train') -> 'Facts':
        """Count the images of a split and open some of them.

        Raises:
            UserError: If there are none, there is no folder for the split, or there are fewer than two classes.
        """
        samples = find_images(root, split).samples
        check_split(root, split, 'train')
        counts = Counter(target for _, target in samples)
        if len(counts) < 2:
            raise UserError(
                f'{root}: a classifier needs images of at least two classes in {split}, found {len(counts)}'
            )
        sides, gray, start = [], True, time.perf_counter()
        chosen = np.unique(np.linspace(0, len(samples) - 1, _SAMPLE, dtype=int))
        for path, _ in (samples[i] for i in chosen):
            try:
                with open(path, 'rb') as file:
                    image = decode(file, path, 'RGB')
            except (CorruptImageError, OSError) as e:
                raise UserError(f'{e}; --check-images in training lists all such files') from e
            sides.append(min(image.size))
            low, high = np.sort(np.asarray(image.resize((8, 8)), dtype=int), axis=2).T[[0, 2]]
            gray &= bool((high - low).max() < 8)
        seconds = (time.perf_counter() - start) / len(chosen)
        return cls(len(samples), len(counts), min(counts.values()), int(np.median(sides)), gray, seconds)

    @property
    def minutes(self) -> float:
        """The time for a run: a second for each image, between 3 and 25 minutes."""
        return min(25.0, max(3.0, self.images / 60))


@dataclass(frozen=True)
class Choice:
    """Flags of `timm-vipriors train` and the reason for them."""

    flags: tuple[str, ...]
    why: str


def choose(facts: Facts, minutes: float | None = None, device: str | None = None) -> list[Choice]:
    """Choose a run that fits into a time on this machine, which is measured for a second or two.

    Args:
        facts: What the data are like.
        minutes: How long the run may take; `Facts.minutes` if None.
        device: Where to train; cuda where there is one, if None.

    Returns:
        What was chosen, in the order in which it is told.

    Example:
        >>> choices = choose(Facts(images=160, classes=8, fewest=20, side=32, gray=True), minutes=0.5, device='cpu')
        >>> [c.flags for c in choices if '--batch-size' in c.flags]
        [('--batch-size', '32', '--lr', '0.05')]
    """
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    minutes = minutes or facts.minutes
    on_gpu = device != 'cpu'
    largest = 224 if on_gpu else 128
    size = min(largest, max(32, round(facts.side / 32) * 32))
    batch = _batch_size(facts.images, 128 if on_gpu and facts.images > 5000 else 32)
    steps = facts.images // batch
    # a quarter for the evaluation and for what the measurement misses, some seconds for the start; images are read once
    available = 0.75 * 60 * minutes - 10 - facts.images * facts.seconds / available_cores()
    why_size = f'images have a shorter side of {facts.side} pixels (median), at most {largest} on this device'
    while True:
        narrow = not on_gpu or size < 96
        seconds = step_seconds(size, batch, facts.classes, narrow, device)
        affordable = available / (steps * seconds)
        if size <= 64 or affordable >= _FEWEST_EPOCHS:
            break
        why_size = (
            f'larger images would leave time for {max(0, int(affordable))} epochs here, fewer than {_FEWEST_EPOCHS}'
        )
        size = max(64, size * 3 // 128 * 32)  # three quarters, in whole steps of the network
    epochs = max(5, min(1000, int(affordable)))
    why_epochs = f'as many as fit into {minutes:.3g} minutes at {seconds:.3f} s a step here: longer runs learn more'
    if epochs == 1000:
        why_epochs = 'no more than 1,000, though there is time for more'
    elif affordable < 5:
        why_epochs = f'the least that makes sense; takes longer than {minutes:.3g} minutes here'
    shrunk = facts.side >= 4 * size
    augmented = Choice(
        ('--aa', 'rand-m5-mstd0.5'),
        'two light changes of shape or color in each image, at random: they pay in runs of this length',
    )
    model = f'--model {_MODEL} --model-kwargs '.split() + [_argument(*item) for item in _NARROW.items()]
    return [
        Choice(
            tuple(model if narrow else model[:2]),
            'selective kernels, blurred; one block a stage, narrow, since '
            + ('images are small' if on_gpu else 'the CPU is slow')
            if narrow
            else 'selective kernels, blurred, as in VIPF Table 1 (not measured by us on a GPU)',
        ),
        Choice(('--img-size', str(size), '--crop-pct', '1.0'), why_size),
        Choice(
            ('--cache', 'ram', *(['--cache-shrink'] if shrunk else [])),
            'each image is decoded once' + (' and kept at the size that crops need' if shrunk else ''),
        ),
        Choice(
            ('--batch-size', str(batch), '--lr', f'{0.05 * batch / 32:.3g}'),
            f'{steps} steps an epoch leave {facts.images - steps * batch} of {facts.images:,} images out; the rate in '
            'proportion',
        ),
        Choice(('--epochs', str(epochs), '--warmup-epochs', str(min(5, epochs // 10))), why_epochs),
        Choice(
            ('--opt', 'sgd', '--weight-decay', '0.005'),
            "fifty times the papers': few images need a strong weight decay",
        ),
        Choice(
            ('--criterion', 'pcl+center', '--smoothing', '0'),
            "VIPF's positive-class and center loss: with averaged weights above cross-entropy on most sets",
        ),
        Choice(
            ('--model-ema', '--model-ema-decay', '0.99', '--model-ema-warmup'),
            'the average of about the last hundred steps is evaluated and kept',
        ),
        Choice(
            ('--hflip', '0', '--color-jitter', '0', '--scale', '0.5', '1'),
            'gray images are often signs or scans, which must not be mirrored (--hflip 0.5 does)',
        )
        if facts.gray
        else Choice(('--hflip', '0.5', '--scale', '0.35', '1'), 'photographs may be mirrored (--hflip 0 does not)'),
        *([augmented] if epochs >= _AUGMENTED_EPOCHS else []),
        Choice(
            ('--device', device, '--channels-last', *(('--amp', '--amp-dtype', 'bfloat16') if on_gpu else ())),
            'the fastest layout' + (' and precision' if on_gpu else ''),
        ),
        Choice(
            ('--val-interval', str(max(1, epochs // 20)), '--checkpoint-hist', '1', '--log-interval', '1000000'),
            'an evaluation costs as much as part of an epoch',
        ),
    ]


def step_seconds(size: int, batch: int, classes: int, narrow: bool, device: str) -> float:
    """Time of a training step on random images: the fastest of five or more, in two seconds or more."""
    model = timm.create_model(_MODEL, num_classes=classes, **(_NARROW if narrow else {}))
    model = model.to(device, memory_format=torch.channels_last).train()
    x = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    target = torch.zeros(batch, dtype=torch.long, device=device)
    times: list[float] = []
    while len(times) < 5 or sum(times) < 2:
        start = time.perf_counter()
        F.cross_entropy(model(x), target).backward()
        if device != 'cpu':
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _argument(name: str, value: object) -> str:
    """A model's argument with double quotes, since the shell's are single ones."""
    return f'{name}={value!r}'.replace(' ', '').replace("'", '"')


def _batch_size(images: int, most: int) -> int:
    """The largest up to `most` that leaves out fewer images than an epoch has steps."""
    return images // math.ceil(images / most)
