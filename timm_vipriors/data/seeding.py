"""Random numbers that follow from where a training is, not from how it got there.

timm seeds once, at the start. A run that was stopped and goes on then sees other crops and another order of images than
one that was not, and every number of loader processes gives others still. Here each epoch has a seed, and in it each
image.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from timm.data.dataset import ImageDataset
from torch.utils.data import get_worker_info

from .datasets import StrictImageDataset


class SeededImageDataset(StrictImageDataset):
    """A strict training data set whose random numbers follow from the seed, the epoch and the image.

    timm's training script calls `set_epoch` before each epoch. It also seeds the process, by its rank: the order of
    the images, dropout, the routing of a dual branch.
    """

    @classmethod
    def of(cls, dataset: ImageDataset, seed: int = 0, rank: int = 0) -> 'SeededImageDataset':
        """The seeded twin of a dataset that timm's `create_dataset` made."""
        seeded = super().of(dataset)
        seeded.seed, seeded.rank = seed % 2**64, rank
        seeded.epoch = torch.zeros((), dtype=torch.long).share_memory_()  # loader processes live through the epochs
        return seeded

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        self.epoch.fill_(epoch)
        seed_all(self.seed, epoch, self.rank)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(torch.initial_seed())

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        seeds = (self.seed, int(self.epoch), index, 1)  # the 1 keeps them apart from those of ranks
        if get_worker_info() is not None:
            seed_all(*seeds)
            return super().__getitem__(index)
        with kept_random_state():  # the network draws from the same generators
            seed_all(*seeds)
            return super().__getitem__(index)


def seed_all(*entropy: int) -> None:
    """Seed Python's, NumPy's and torch's CPU generator from some numbers that are not negative."""
    for_python, for_numpy, for_torch = np.random.SeedSequence(entropy).generate_state(3).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy)  # noqa: NPY002  timm's augmentations use it
    torch.default_generator.manual_seed(for_torch)  # torch.manual_seed would queue a call for CUDA with every image


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Give the three generators the state back that they had."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
