"""Evaluation batches that are read once: they are the same in every epoch."""

from collections.abc import Iterator
from typing import Any

import torch

LIMIT = 256 * 2**20


class KeptBatches:
    """A loader without random transforms, whose batches are kept after the first pass; its workers then end.

    Where they take more than `limit` bytes, they are read in each pass.
    """

    def __init__(self, loader: Any, limit: int = LIMIT) -> None:
        self.loader = loader
        self.limit = limit
        self._kept: list[list[torch.Tensor]] | None = None

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        if self._kept is not None:
            yield from self._kept
            return
        kept, room = [], self.limit
        for batch in self.loader:
            room -= sum(tensor.nbytes for tensor in batch)
            if room >= 0:
                kept.append([tensor.clone() for tensor in batch])  # what workers send lies in shared memory
            yield batch
        if room >= 0:
            self._kept = kept
            self.loader._iterator = None

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name == 'loader':  # not yet there: a copy is being made
            raise AttributeError(name)
        return getattr(self.loader, name)
