"""Random numbers that depend on the seed and the position in the run, not on how the run got there.

timm seeds once, at the start, so the crops and the order of the images change with the number of workers and after a
resume. Here the sampler seeds every image that it asks for by the seed, the epoch, the rank and the position in the
epoch. Not by the image: repeated augmentation asks for it several times, and a loader may prefetch the next epoch.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from timm.data import FastCollateMixup
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, Sampler, get_worker_info


def seed_loader(loader: Any, seed: int, rank: int = 0, before_batch: Callable[[], None] | None = None) -> None:
    """Fix the random numbers of a training loader: the order of the images, their views, and their mixing.

    The views are new in each epoch, and the same for any number of workers. After `loader.dataset.set_epoch(k)`, which
    timm's training script calls, a resumed run gets those of an uninterrupted one. Where the data set itself chooses
    the images (NaFlex, iterable data sets) only the workers' seeds are fixed.

    Args:
        loader: A DataLoader that timm's `create_loader` or `create_naflex_loader` made, before it is iterated over.
        seed: The seed of the run.
        rank: The number of this process in a distributed run.
        before_batch: Called before each batch in the process that loads it: forgets what the transforms keep of others.

    Examples:
        >>> from timm.data import create_loader
        >>> from torchvision.datasets import FakeData
        >>> data = FakeData(8, (3, 32, 32))
        >>> loader = create_loader(data, 32, 4, is_training=True, device=torch.device('cpu'), num_workers=0)
        >>> seed_loader(loader, seed=42)
        >>> loader.dataset.set_epoch(3)
        >>> images, labels = next(iter(loader))
    """
    inner = getattr(loader, 'loader', loader)  # of timm's PrefetchLoader
    # a generator of its own: new workers draw their seed from it, persistent ones do not
    inner.generator = torch.Generator().manual_seed(_states(1, (seed, 0, rank, 0, 0))[0])
    sampler = None
    if inner.batch_sampler is not None and not isinstance(inner.dataset, IterableDataset):
        holder = inner.batch_sampler
        while hasattr(holder.sampler, 'sampler'):  # MultiEpochsDataLoader repeats the batch sampler
            holder = holder.sampler
        holder.sampler = sampler = SeededSampler(holder.sampler, seed, rank)
    # a DataLoader refuses the plain assignment, since a sampler might not fit another data set
    object.__setattr__(inner, 'dataset', SeededDataset(inner.dataset, sampler, seed, rank, before_batch))
    if type(inner.collate_fn) is FastCollateMixup:
        inner.collate_fn = _SeededMixup(inner.collate_fn)
    if getattr(inner, 'iterator', None) is not None:  # before timm 1.0.31 MultiEpochsDataLoader starts at once
        inner._iterator = None
        inner.iterator = DataLoader.__iter__(inner)


class SeededIndex(int):
    """The index of an image, with the numbers that its random numbers follow from."""

    entropy: tuple[int, ...]


class SeededSampler(Sampler):
    """The indices of another sampler as `SeededIndex`, each pass with other random numbers.

    Attributes:
        epoch: The epoch of the next pass; timm's MultiEpochsDataLoader reads it.
    """

    def __init__(self, sampler: Any, seed: int, rank: int) -> None:
        self.sampler = sampler
        self.seed = seed
        self.rank = rank
        self.epoch = 0
        self._passes = 0  # in this epoch: more than one where a loader prefetches, or nobody sets the epoch

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self._passes = epoch, 0

    def __iter__(self) -> Iterator[SeededIndex]:
        self._passes += 1
        entropy = self.seed, self.epoch, self.rank, self._passes
        # torch's and timm's distributed samplers shuffle by the epoch alone; the order must be the same on all ranks
        order = _states(1, (self.seed, self.epoch, 0, self._passes))[0]
        if isinstance(self.sampler, RandomSampler):
            self.sampler.generator = torch.Generator().manual_seed(order)
        elif hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(order)
        for position, index in enumerate(map(SeededIndex, self.sampler)):
            index.entropy = *entropy, position
            yield index


class SeededDataset(Dataset):
    """A data set in place of another, with its attributes, that seeds the generators for each `SeededIndex`."""

    def __init__(
        self,
        dataset: Any,
        sampler: SeededSampler | None,
        seed: int,
        rank: int,
        before_batch: Callable[[], None] | None = None,
    ) -> None:
        self.__dict__.update(dataset=dataset, epoch=0, before_batch=before_batch)
        self.__dict__.update(_sampler=sampler, _seed=seed, _rank=rank)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, and seed this process for dropout and the routing of a dual branch."""
        self.__dict__['epoch'] = epoch
        if self._sampler is not None:
            self._sampler.set_epoch(epoch)
        if hasattr(self.dataset, 'set_epoch'):
            self.dataset.set_epoch(epoch)
        seed_all(self._seed, epoch, self._rank, 0)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(torch.initial_seed())

    def __getitem__(self, index: Any) -> Any:
        entropy = _entropy(index)
        with nullcontext() if entropy is None else seeded(*entropy):
            return self.dataset[index]

    def __getitems__(self, indices: Sequence[Any]) -> '_Batch':
        if self.before_batch is not None:
            self.before_batch()
        batch = _Batch(self[index] for index in indices)
        batch.entropy = *(_entropy(indices[0]) or ()), 1  # the 1 makes it another one than that of the first image
        return batch

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or 'dataset' not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_sampler': None}  # a worker does not need it


def _entropy(index: Any) -> tuple[int, ...] | None:
    return getattr(index[0] if isinstance(index, tuple) else index, 'entropy', None)  # scheduled sizes add a choice


class _Batch(list):
    entropy: tuple[int, ...]


class _SeededMixup(FastCollateMixup):
    """timm's mixup of a batch, with the same random numbers in the main process as in a worker."""

    def __init__(self, mixup: FastCollateMixup) -> None:
        self._enabled = torch.tensor(mixup.mixup_enabled).share_memory_()  # for --mixup-off-epoch to reach the workers
        self.__dict__.update({name: value for name, value in mixup.__dict__.items() if name != 'mixup_enabled'})

    @property
    def mixup_enabled(self) -> bool:
        return bool(self._enabled)

    @mixup_enabled.setter
    def mixup_enabled(self, enabled: bool) -> None:
        self._enabled.fill_(enabled)

    def __call__(self, batch: _Batch, _: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        with seeded(*batch.entropy):
            return super().__call__(batch)


def seed_all(*entropy: int) -> None:
    """Seed the CPU generators of Python, NumPy and torch from some numbers."""
    for_python, for_numpy, for_torch = _states(3, entropy)
    random.seed(for_python)
    np.random.seed(for_numpy)  # noqa: NPY002  timm's augmentations use it
    torch.default_generator.manual_seed(for_torch)  # torch.manual_seed would queue a call for CUDA with every image


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed the generators; afterwards restore them, except in a worker, where nothing else draws from them."""
    if get_worker_info() is not None:
        seed_all(*entropy)
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        seed_all(*entropy)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def _states(count: int, entropy: Sequence[int]) -> list[int]:
    return np.random.SeedSequence([number % 2**64 for number in entropy]).generate_state(count).tolist()
