"""Ensembles of models from their scores: weighted average and plurality vote.

The average is that of VIPF §4.4, which gives the better models 3 and the others 1. The vote is Kim's Algorithm 1: where
the best model is not sure, all vote. The paper does not say how ties end: here by the sum of the scores.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..files import progress
from .join import Joined

_BLOCK_ELEMENTS = 2**18  # scores of one member in a block


def weighted_average(scores: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Σ w s / Σ w, summed in float64.

    Args:
        scores: Probabilities (N, C) of each model.
        weights: A weight for each model, all 1 by default.

    Returns:
        Probabilities (N, C) in float32.

    Raises:
        ValueError: If the shapes differ, there is no model, or the weights are not one for each, negative or all 0.
    """
    weights = checked_weights([1.0] * len(scores) if weights is None else weights)
    if len(weights) != len(scores):
        raise ValueError(f'expected a weight for each of {len(scores)} models, got {len(weights)}')
    checked_shape(scores)
    total = np.multiply(scores[0], weights[0], dtype=np.float64)
    for score, weight in zip(scores[1:], weights[1:], strict=True):
        total += score if weight == 1 else np.multiply(score, weight, dtype=np.float64)
    total /= weights.sum()
    return total.astype(np.float32)


def plurality_vote(base: np.ndarray, members: Sequence[np.ndarray], threshold: float = 0.7) -> np.ndarray:
    """Kim's Algorithm 1: where the base's top probability is below the threshold, the class with the most votes.

    Each model votes for its best class, the base too. Of classes with as many votes that with the highest sum of the
    scores of all voters wins, and if these are equal too the first.

    Args:
        base: Probabilities (N, C) of the model whose predictions stand where it is sure.
        members: Probabilities (N, C) of each other model.
        threshold: What the base's top probability must reach to stand, in 0 … 1.

    Returns:
        Predicted classes (N,) in int64.

    Raises:
        ValueError: If the shapes differ or the threshold is out of range.
    """
    return vote_scores(base, members, threshold).argmax(axis=1)


def vote_scores(base: np.ndarray, members: Sequence[np.ndarray], threshold: float = 0.7) -> np.ndarray:
    """Scores (N, C) whose highest is the class of `plurality_vote`, with the same arguments.

    Where the base stands they are its own. Elsewhere they are the share of the votes of each class; where votes tie,
    the class that wins counts half a vote more.
    """
    voters = [base, *members]
    checked_shape(voters)
    rows = np.flatnonzero(is_unsure(base, threshold))
    each, votes = np.arange(len(rows)), np.zeros((len(rows), base.shape[1]))
    for scores in voters:
        votes[each, scores.argmax(axis=1)[rows]] += 1
    leading = votes == votes.max(axis=1, keepdims=True)
    ties = np.flatnonzero(np.count_nonzero(leading, axis=1) > 1)
    sums = np.zeros((len(ties), base.shape[1]))
    for scores in voters:
        sums += scores[rows[ties]]
    votes[ties, np.where(leading[ties], sums, -1).argmax(axis=1)] += 0.5
    out = base.astype(np.result_type(base, np.float32))
    out[rows] = votes / votes.sum(axis=1, keepdims=True)
    return out


def is_unsure(base: np.ndarray, threshold: float) -> np.ndarray:
    """Where the top probability (N,) of scores (N, C) is below the threshold."""
    if not 0 <= threshold <= 1:
        raise ValueError(f'the threshold must be in 0 … 1, got {threshold}')
    return base.max(axis=1) < base.dtype.type(threshold)  # in the type of the scores 0.7 is not below 0.7


def checked_weights(weights: Sequence[float]) -> np.ndarray:
    """Weights (M,) in float64, none negative and not all 0."""
    weights = np.asarray(weights, np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(f'weights must be finite, not negative and not all 0, got {weights.tolist()}')
    return weights


def in_top(scores: np.ndarray, targets: np.ndarray, k: int = 1) -> np.ndarray:
    """Whether the target (N,) is among the k highest scores (N, C); of equal ones the first counts as higher."""
    right = scores.argmax(axis=1) == targets
    if k == 1:
        return right
    rows = np.flatnonzero(~right & (targets >= 0))
    rest, target = scores[rows], targets[rows, None]
    own = np.take_along_axis(rest, target, axis=1)
    above = _counts(rest > own)
    near = np.flatnonzero(above < k)
    above[near] += _counts((rest[near] == own[near]) & (np.arange(scores.shape[1]) < target[near]))
    right[rows] = above < k
    return right


def _counts(array: np.ndarray) -> np.ndarray:
    """How many are true in each row (N,) of an array (N, C)."""
    # faster than a sum along the axis
    return np.fromiter(map(np.count_nonzero, array), np.int64, len(array))


class EnsembleRun:
    """One pass over joined score files, some rows at a time.

    Args:
        joined: The files.
        combine: Makes the ensemble's scores (n, C) of those of all members.

    Attributes:
        predictions: The ensemble's classes (N,), as all others filled by the pass.
        scores: The ensemble's scores of these (N,).
        member_predictions, member_scores: The same of each member (M, N).
        in_top5: Whether the target is among the ensemble's five best classes (N,); False where it is unknown.
        member_in_top5: The same of each member (M, N).
    """

    def __init__(self, joined: Joined, combine: Callable[[list[np.ndarray]], np.ndarray]) -> None:
        self.joined, self.combine = joined, combine
        shape = (1 + len(joined.members), len(joined.filenames))  # the ensemble's come last
        self._predictions, self._scores, self._in_top5 = (np.zeros(shape, t) for t in (np.int64, np.float32, bool))
        self.member_predictions, self.predictions = self._predictions[:-1], self._predictions[-1]
        self.member_scores, self.scores = self._scores[:-1], self._scores[-1]
        self.member_in_top5, self.in_top5 = self._in_top5[:-1], self._in_top5[-1]

    def blocks(self) -> Iterator[np.ndarray]:
        """Make the pass, and give the ensemble's scores (n, C) of one block of rows after the other."""
        targets = self.joined.targets
        # few enough rows to stay in the processor's cache while they are worked on
        step = max(_BLOCK_ELEMENTS // self.joined.num_classes, 1)
        starts = range(0, len(self.joined.filenames), step)
        for start in progress(starts, len(starts), 'combining', unit='block'):
            rows = slice(start, start + step)
            scores = [member.read(rows) for member in self.joined.members]
            scores.append(self.combine(scores))
            for i, each in enumerate(scores):
                best = each.argmax(axis=1)
                self._predictions[i, rows], self._scores[i, rows] = best, each[np.arange(len(best)), best]
                if targets is not None:
                    self._in_top5[i, rows] = in_top(each, targets[rows], 5)
            yield scores[-1]


def checked_shape(scores: Sequence[np.ndarray]) -> tuple[int, int]:
    """The shape (N, C) that all scores have."""
    shapes = {np.shape(score) for score in scores}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f'expected scores of one shape (images, classes), got {sorted(shapes)}')
    return shapes.pop()
