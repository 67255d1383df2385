"""Which models to average, and with which weights.

`held_out_weights` are VIPF's (§4.4): more for the better models. `search` is greedy forward selection with replacement
after Caruana et al., "Ensemble selection from libraries of models", ICML 2004: the model that helps most is added until
none helps; one may be added again, and how often it was is its weight. Chosen on labelled images the ensemble looks
better on these than it is, so the accuracy is also measured on images that the choice has not seen.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from ..files import progress, text_table
from .ensemble import BLOCK_ELEMENTS, checked_shape
from .ensemble_result import UNKNOWN, best_single, gain_line, percent
from .join import Files, Joined, join_files
from .metrics import in_top

_TOP = {'top1': 1, 'top5': 5}


@dataclass(frozen=True, eq=False)
class Selection:
    """What a search found; of a search of files its text is the table that the command prints.

    Attributes:
        weights: How often each member was chosen (M,).
        correct: Whether the chosen ensemble is right on each image (N,), which it was chosen on.
        held_out: The same of ensembles chosen on the other folds, each image by the one that has not seen it.
        singles: Whether each member alone is right (M, N).
        steps: The accuracy after each member that was added.
        metric: The accuracy that was raised.
        folds: Parts of the cross-validation.
        paths: The files.
        models: What made them.

    Examples:
        >>> right, unsure = np.array([[0.9, 0.1], [0.2, 0.8]]), np.full((2, 2), 0.5)
        >>> found = greedy_search([unsure, right], np.array([0, 1]), folds=2)
        >>> found.weights, found.steps
        ((0, 1), (1.0,))
    """

    weights: tuple[int, ...]
    correct: np.ndarray
    held_out: np.ndarray
    singles: np.ndarray
    steps: tuple[float, ...]
    metric: str
    folds: int
    paths: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The members with their weights, the accuracy of what was chosen, and the command that averages it."""
        rows = [('member', 'model', 'weight', self.metric.replace('top', 'top-'))]
        for path, model, weight, single in zip(self.paths, self.models, self.weights, self.singles, strict=True):
            rows.append((path, model, str(weight or UNKNOWN), percent(single)))
        rows.append(('chosen, accuracy on the images of the selection (optimistic)', '', '', percent(self.correct)))
        held_out = f'chosen, accuracy on images not seen ({self.folds}-fold cross-validation)'
        rows.append((held_out, '', '', percent(self.held_out)))
        best = int(self.singles.sum(axis=1).argmax())
        gain = gain_line(best_single(self.paths[best], self.singles[best]), self.singles[best], self.held_out)
        chosen = [f'{path}:{weight}' for path, weight in zip(self.paths, self.weights, strict=True) if weight]
        command = f'timm-vipriors ensemble average {shlex.join(chosen)}'
        return f'{text_table(rows, left=range(2))}\ncross-validated {gain}\n{command}'


def held_out_weights(files: Files, better: float = 3.0, rest: float = 1.0) -> tuple[float, ...]:
    """VIPF's weights of an average: 3 for the better models and 1 for the rest (§4.4).

    Which are better is not in the paper. Here they are those whose top-1 accuracy on labelled images is not below the
    median of all: the better half, and equal models have equal weights.

    Args:
        files: Score files of held-out images, or what `join_files` returns; see `join` for the errors.
        better: The weight of the better models.
        rest: The weight of the others.

    Raises:
        ValueError: If no image has a target.
    """
    joined, rows = _labelled(files, 'weights by accuracy need')
    right = [in_top(member.read(rows), joined.targets[rows]).sum() for member in joined.members]
    return tuple(better if number >= np.median(right) else rest for number in right)


def _labelled(files: Files, need: str) -> tuple[Joined, np.ndarray]:
    """The joined files, and the rows whose targets are known."""
    joined = join_files(files)
    if joined.targets is None:
        raise ValueError(f'{need} labelled images, and no file has targets: predict images in folders of their classes')
    return joined, np.flatnonzero(joined.targets >= 0)


def search(
    files: Files,
    metric: Literal['top1', 'top5'] = 'top1',
    max_members: int = 10,
    folds: int = 5,
    seed: int = 0,
) -> Selection:
    """Search score files, or what `join_files` returns, for members to average, on the images with known targets.

    The arguments are those of `greedy_search`. All scores are loaded into memory.
    """
    joined, rows = _labelled(files, 'a search needs')
    scores = [member.read(rows) for member in joined.members]
    found = greedy_search(scores, joined.targets[rows], metric, max_members, folds, seed)
    paths, models = zip(*((member.file.path, member.file.model) for member in joined.members), strict=True)
    return replace(found, paths=paths, models=models)


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

    @cache  # folds often ask the same again
    def one_more(weights: tuple[int, ...]) -> np.ndarray:
        return _one_more(members, weights, targets, _TOP[metric])

    def select(rows: np.ndarray) -> tuple[tuple[int, ...], np.ndarray, list[float]]:
        """Weights chosen on some rows, whether they are right on all rows (N,), and the accuracy after each step."""
        weights, correct, steps = (0,) * len(members), np.zeros(count, bool), []
        for _ in range(max_members):
            options = one_more(weights)
            accuracies = options[:, rows].mean(axis=1)
            best = int(accuracies.argmax())
            if steps and accuracies[best] <= steps[-1]:
                break
            steps.append(float(accuracies[best]))
            correct, weights = options[best], (*weights[:best], weights[best] + 1, *weights[best + 1 :])
        return weights, correct, steps

    parts = np.array_split(np.random.default_rng(seed).permutation(count), folds)
    held_out = np.zeros(count, bool)
    for i, part in enumerate(progress(parts, folds, 'searching', unit='fold')):
        held_out[part] = select(np.concatenate(parts[:i] + parts[i + 1 :]))[1][part]
    weights, correct, steps = select(np.arange(count))
    return Selection(weights, correct, held_out, one_more((0,) * len(members)), tuple(steps), metric, folds)


def _one_more(members: Sequence[np.ndarray], weights: Sequence[int], targets: np.ndarray, k: int) -> np.ndarray:
    """Whether the average of the weighted members and one member more would be right, for each of them (M, N)."""
    count, classes = members[0].shape
    out = np.zeros((len(weights), count), bool)
    step = max(BLOCK_ELEMENTS // classes, 1)
    for start in range(0, count, step):
        rows = slice(start, start + step)
        total = np.zeros((len(targets[rows]), classes))
        for member, weight in zip(members, weights, strict=True):
            if weight:
                total += np.multiply(member[rows], weight, dtype=np.float64)
        for i, member in enumerate(members):
            # rounded as `weighted_average` does, for equal scores to be equal here too
            mean = ((total + member[rows]) / (sum(weights) + 1)).astype(np.float32)
            out[i, rows] = in_top(mean, targets[rows], k)
    return out
