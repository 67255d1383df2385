"""Which models to average: greedy forward selection with replacement.

After Caruana et al., "Ensemble selection from libraries of models", ICML 2004: the model that helps most is added until
none helps; one may be added again, and how often it was is its weight. Chosen on labelled images the ensemble looks
better on these than it is, so the accuracy is also measured on images that the choice has not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..files import progress
from .ensemble import checked_shape, in_top

_BLOCK_ELEMENTS = 2**18  # scores of one member in a block
_TOP = {'top1': 1, 'top5': 5}


@dataclass(frozen=True, eq=False)
class Selection:
    """What a search found.

    Attributes:
        weights: How often each member was chosen (M,).
        correct: Whether the chosen ensemble is right on each image (N,), which it was chosen on.
        held_out: The same of ensembles chosen on the other folds, each image by the one that has not seen it.
        singles: Whether each member alone is right (M, N).
        steps: The accuracy after each member that was added.
    """

    weights: tuple[int, ...]
    correct: np.ndarray
    held_out: np.ndarray
    singles: np.ndarray
    steps: tuple[float, ...]


def greedy_search(
    members: Sequence[np.ndarray],
    targets: np.ndarray,
    metric: Literal['top1', 'top5'] = 'top1',
    max_members: int = 10,
    folds: int = 5,
    seed: int = 0,
) -> Selection:
    """Choose members to average, with cross-validation of the choice.

    Args:
        members: Probabilities (N, C) of each model.
        targets: The true classes (N,), all known.
        metric: The accuracy to raise.
        max_members: How often a member is added at most.
        folds: Parts of the images for the cross-validation.
        seed: Seed of the parts.

    Raises:
        ValueError: If shapes differ, a target is out of range, or an argument is.
    """
    count, classes = checked_shape(members)
    if metric not in _TOP:
        raise ValueError(f"the metric must be 'top1' or 'top5', got {metric!r}")
    if targets.shape != (count,) or (count and not 0 <= targets.min() <= targets.max() < classes):
        raise ValueError(f'expected {count} targets of 0 … {classes - 1}, all known')
    if max_members < 1:
        raise ValueError(f'at least one member must be allowed, got {max_members}')
    if not 2 <= folds <= count:
        raise ValueError(f'the number of folds must be in 2 … {count}, the number of labelled images, got {folds}')
    candidates = _Candidates(members, targets, _TOP[metric])
    parts = np.array_split(np.random.default_rng(seed).permutation(count), folds)
    held_out = np.zeros(count, bool)
    for i, part in enumerate(progress(parts, folds, 'searching', unit='fold')):
        others = np.concatenate(parts[:i] + parts[i + 1 :])
        held_out[part] = _select(candidates, others, max_members)[1][part]
    weights, correct, steps = _select(candidates, np.arange(count), max_members)
    return Selection(weights, correct, held_out, candidates((0,) * len(members)), steps)


def _select(
    candidates: '_Candidates', rows: np.ndarray, max_members: int
) -> tuple[tuple[int, ...], np.ndarray, tuple[float, ...]]:
    """Weights chosen on some rows, whether they are right on all rows (N,), and the accuracy after each step."""
    weights, correct, hits, steps = (0,) * len(candidates.members), None, -1, []
    for _ in range(max_members):
        options = candidates(weights)
        option_hits = options[:, rows].sum(axis=1)
        best = int(option_hits.argmax())
        if option_hits[best] <= hits:
            break
        hits, correct = option_hits[best], options[best]
        weights = (*weights[:best], weights[best] + 1, *weights[best + 1 :])
        steps.append(float(hits / len(rows)))
    return weights, correct, tuple(steps)


class _Candidates:
    """Whether each ensemble of one member more would be right, (M, N). Folds often ask the same again."""

    def __init__(self, members: Sequence[np.ndarray], targets: np.ndarray, k: int) -> None:
        self.members, self.targets, self.k = members, targets, k
        self.known: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, weights: tuple[int, ...]) -> np.ndarray:
        if weights not in self.known:
            self.known[weights] = self._compute(weights)
        return self.known[weights]

    def _compute(self, weights: tuple[int, ...]) -> np.ndarray:
        count, classes = self.members[0].shape
        out = np.zeros((len(weights), count), bool)
        step = max(_BLOCK_ELEMENTS // classes, 1)
        for start in range(0, count, step):
            rows = slice(start, start + step)
            total = np.zeros((len(self.targets[rows]), classes))
            for member, weight in zip(self.members, weights, strict=True):
                if weight:
                    total += np.multiply(member[rows], weight, dtype=np.float64)
            for i, member in enumerate(self.members):
                # rounded as `weighted_average` does, for equal scores to be equal here too
                mean = ((total + member[rows]) / (sum(weights) + 1)).astype(np.float32)
                out[i, rows] = in_top(mean, self.targets[rows], self.k)
        return out
