"""Logits and targets that the tests of the losses share, and the bad ones that every loss refuses."""

import torch

CLASSES = 5


def logits(batch=4, classes=CLASSES, seed=0, **kwargs):
    return torch.randn(batch, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **kwargs)


def hard(batch=4, classes=CLASSES):
    return torch.arange(batch) * 7 % classes


def soft(batch=4, classes=CLASSES):
    return torch.softmax(2 * logits(batch, classes, seed=9), dim=1)


def label_rows(target, classes):
    """Rows of plain Python floats."""
    return [t if isinstance(t, list) else [float(c == t) for c in range(classes)] for t in target.tolist()]


BAD = [
    (logits(), torch.tensor([0, 1, 2, 5]), r'in 0 … 4 for 5 logits, got 5'),
    (logits(), torch.tensor([0, 1, 2, -1]), r'got -1'),
    (logits(), torch.tensor([0, 1]), r'shape \(4,\) or soft labels of shape \(4, 5\), got \(2,\)'),
    (logits(), torch.full((4, 5), 0.5), r'must sum to one within 0.01, got a row off by 1.5'),
    (logits(), torch.full((4, 5), float('nan')), r'off by nan'),
    (logits(), torch.ones(4), r'must be integer class indices, got torch.float32'),
    (logits(), torch.tensor([True, False, True, True]), r'must be integer class indices, got torch.bool'),
    (logits()[0], hard(), r'logits of shape \(B, C\) .*, got \(5,\)'),
    (logits(0), hard(0), r'at least one sample, got \(0, 5\)'),
]
