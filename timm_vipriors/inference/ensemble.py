"""Ensembles of models from their scores: weighted average and plurality vote, of arrays and of score files.

The average is that of VIPF §4.4, with weight 3 for the better models and 1 for the others. The vote is Kim's Algorithm
1: where the best model is not sure, all vote. The paper does not say how ties are broken: here by the sum of scores.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..files import progress
from .ensemble_result import Ensemble
from .join import Files, Joined, join_files
from .metrics import in_top

BLOCK_ELEMENTS = 2**18  # scores of one member in a block of rows, few enough for the processor's cache


def weighted_average(scores: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Σ w s / Σ w, summed in float64.

    Args:
        scores: Probabilities (N, C) of each model.
        weights: A weight for each model, all 1 by default.

    Returns:
        Probabilities (N, C) in float32.

    Raises:
        ValueError: If the shapes differ, there is no model, or the weights are not one for each, negative or all 0.

    >>> weighted_average([np.array([[0.25, 0.75]]), np.array([[0.75, 0.25]])], weights=[3, 1]).tolist()
    [[0.375, 0.625]]
    """
    weights = np.asarray([1.0] * len(scores) if weights is None else weights, np.float64)
    if len(weights) != len(scores):
        raise ValueError(f'expected a weight for each of {len(scores)} models, got {len(weights)}')
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(f'weights must be finite, not negative and not all 0, got {weights.tolist()}')
    checked_shape(scores)
    total = np.multiply(scores[0], weights[0], dtype=np.float64)
    for score, weight in zip(scores[1:], weights[1:], strict=True):
        total += score if weight == 1 else np.multiply(score, weight, dtype=np.float64)
    total /= weights.sum()
    return total.astype(np.float32)


def plurality_vote(base: np.ndarray, members: Sequence[np.ndarray], threshold: float = 0.7) -> np.ndarray:
    """Kim's Algorithm 1: where the base's top probability is below the threshold, the class with the most votes.

    Each model votes for its best class, the base too. Of classes with equal votes the one with the highest sum of all
    voters' scores wins, then the first.

    Args:
        base: Probabilities (N, C) of the model whose predictions stand where it is sure.
        members: Probabilities (N, C) of each other model.
        threshold: The top probability, in 0 … 1, at which the base's prediction stands.

    Returns:
        Predicted classes (N,) in int64.

    Raises:
        ValueError: If the shapes differ or the threshold is out of range.

    >>> a, b = np.array([[0.6, 0.3, 0.1]]), np.array([[0.1, 0.8, 0.1]])
    >>> plurality_vote(a, [b, b]).tolist(), plurality_vote(a, [b, b], threshold=0.5).tolist()
    ([1], [0])
    """
    return vote_scores(base, members, threshold).argmax(axis=1)


def vote_scores(base: np.ndarray, members: Sequence[np.ndarray], threshold: float = 0.7) -> np.ndarray:
    """Scores (N, C), the highest at the class that `plurality_vote` predicts from the same arguments.

    Where the base stands they are its own, elsewhere each class's share of the votes; in a tie the winner has half a
    vote more.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f'the threshold must be in 0 … 1, got {threshold}')
    voters = [base, *members]
    checked_shape(voters)
    rows = np.flatnonzero(base.max(axis=1) < base.dtype.type(threshold))  # in its type 0.7 is not below 0.7
    each, votes = np.arange(len(rows)), np.zeros((len(rows), base.shape[1]))
    for scores in voters:
        votes[each, scores.argmax(axis=1)[rows]] += 1
    leading = votes == votes.max(axis=1, keepdims=True)
    ties = np.flatnonzero(np.count_nonzero(leading, axis=1) > 1)
    sums = np.sum([scores[rows[ties]] for scores in voters], axis=0, dtype=np.float64)
    votes[ties, np.where(leading[ties], sums, -1).argmax(axis=1)] += 0.5
    out = base.astype(np.result_type(base, np.float32))
    out[rows] = votes / votes.sum(axis=1, keepdims=True)
    return out


def average(files: Files, weights: Sequence[float] | None = None, *, keep_scores: bool = True) -> Ensemble:
    """Average score files, as `timm-vipriors ensemble average` does.

    Args:
        files: The score files, or what `join_files` returns; see `join` for the errors.
        weights: A weight for each file, all 1 by default.
        keep_scores: Keep the ensemble's scores (4 bytes each), which saving them needs.
    """
    joined = join_files(files)
    weights = [1.0] * len(joined.members) if weights is None else list(weights)
    about = dict(kind='average', cells=[f'{weight:g}' for weight in weights])
    return _combined(joined, lambda scores: weighted_average(scores, weights), keep_scores, **about)


def vote(files: Files, threshold: float = 0.7, *, keep_scores: bool = True) -> Ensemble:
    """Let score files vote, as `timm-vipriors ensemble vote` does.

    Args:
        files: The score files, the base first, or what `join_files` returns; see `join` for the errors.
        threshold: The top probability, in 0 … 1, at which the base's prediction stands.
        keep_scores: Keep the ensemble's scores (4 bytes each), which saving them needs.
    """
    joined = join_files(files)
    cells = ['base', *['votes'] * (len(joined.members) - 1)]
    about = dict(kind='vote', cells=cells, threshold=threshold)
    return _combined(joined, lambda scores: vote_scores(scores[0], scores[1:], threshold), keep_scores, **about)


def _combined(
    joined: Joined, combine: Callable[[list[np.ndarray]], np.ndarray], keep_scores: bool, **about: Any
) -> Ensemble:
    """The ensemble, in one pass over the files by blocks of rows."""
    count, shape = len(joined.filenames), (len(joined.members) + 1, len(joined.filenames))  # the ensemble comes last
    kept = np.empty((count, joined.num_classes), np.float32) if keep_scores else None
    predictions, confidences, in_top5 = (np.zeros(shape, dtype) for dtype in (np.int64, np.float32, bool))
    step = max(BLOCK_ELEMENTS // joined.num_classes, 1)
    starts = range(0, count, step)
    for start in progress(starts, len(starts), 'combining', unit='block'):
        rows = slice(start, start + step)
        parts = [member.read(rows) for member in joined.members]
        parts.append(combine(parts))
        if kept is not None:
            kept[rows] = parts[-1]
        for i, part in enumerate(parts):
            best = part.argmax(axis=1)
            predictions[i, rows], confidences[i, rows] = best, part[np.arange(len(best)), best]
            if joined.targets is not None:
                in_top5[i, rows] = in_top(part, joined.targets[rows], 5)
    return Ensemble(joined, kept, predictions, confidences, in_top5, **about)


def checked_shape(scores: Sequence[np.ndarray]) -> tuple[int, int]:
    """The shape (N, C) that all scores have."""
    shapes = {np.shape(score) for score in scores}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f'expected scores of one shape (images, classes), got {sorted(shapes)}')
    return shapes.pop()
