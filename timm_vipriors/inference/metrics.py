"""Accuracy of scores, and the uncertainty of a gain in accuracy."""

import math

import numpy as np

_Z = 1.959963984540054  # the normal quantile of 0.975


def in_top(scores: np.ndarray, targets: np.ndarray, k: int = 1) -> np.ndarray:
    """Whether the target (N,) is among the k highest scores (N, C); of equal scores the first counts as higher.

    >>> in_top(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), np.array([1, 2]), k=2).tolist()
    [True, True]
    """
    right = scores.argmax(axis=1) == targets
    if k == 1:
        return right
    rows = np.flatnonzero(~right & (targets >= 0))
    rest, target = scores[rows], targets[rows, None]
    own = np.take_along_axis(rest, target, axis=1)
    above = np.count_nonzero(rest > own, axis=1)
    near = np.flatnonzero(above < k)  # only there equal scores matter
    above[near] += np.count_nonzero((rest[near] == own[near]) & (np.arange(scores.shape[1]) < target[near]), axis=1)
    right[rows] = above < k
    return right


def balanced_accuracy(correct: np.ndarray, targets: np.ndarray) -> float:
    """The mean of the accuracies of the classes, from whether each image is right (N,) and its class (N,).

    >>> balanced_accuracy(np.array([True, True, True, False]), np.array([0, 0, 0, 1]))
    0.5
    """
    images = np.bincount(targets)
    return float((np.bincount(targets, correct)[images > 0] / images[images > 0]).mean())


def paired_gain(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """The gain in accuracy on the same images, and its 95 % score interval.

    The interval is method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17 (1998): Wilson's intervals of both accuracies, combined
    by their correlation. Unlike a bootstrap it keeps its coverage where few images change.

    Args:
        before: Whether each image was right (N,).
        after: The same with what was changed.

    Returns:
        The gain and both ends of the interval, as fractions of one; NaN without images.

    >>> [round(x, 3) for x in paired_gain(np.array([False, True]), np.array([True, True]))]
    [0.5, -0.273, 0.905]
    """
    count = len(before)
    if count == 0:
        return math.nan, math.nan, math.nan
    both, won, lost = (int(np.count_nonzero(x)) for x in (after & before, after & ~before, before & ~after))
    neither = count - both - won - lost
    p, q = (both + won) / count, (both + lost) / count
    (p_low, p_high), (q_low, q_high) = wilson(both + won, count), wilson(both + lost, count)
    product = (both + won) * (lost + neither) * (both + lost) * (won + neither)
    covariance = both * neither - won * lost
    if covariance > 0:  # corrected for continuity
        covariance = max(covariance - count / 2, 0)
    phi = covariance / math.sqrt(product) if product else 0.0
    down = (p - p_low) ** 2 - 2 * phi * (p - p_low) * (q_high - q) + (q_high - q) ** 2
    up = (p_high - p) ** 2 - 2 * phi * (p_high - p) * (q - q_low) + (q - q_low) ** 2
    gain = (won - lost) / count
    return gain, gain - math.sqrt(max(down, 0)), gain + math.sqrt(max(up, 0))


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Both ends of Wilson's 95 % score interval of a share; scipy.stats would take 70 MB and a second to import.

    >>> low, high = wilson(7, 10)
    >>> f'{low:.3f} to {high:.3f}'
    '0.397 to 0.892'
    """
    p, z = hits / count, _Z
    center, half = p + z**2 / (2 * count), z * math.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    return max((center - half) / (1 + z**2 / count), 0.0), min((center + half) / (1 + z**2 / count), 1.0)
