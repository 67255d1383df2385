"""Comparing what checkpoints hold."""

from typing import Any

import torch


def equal(a: Any, b: Any) -> bool:
    """Whether two nested states are the same to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
