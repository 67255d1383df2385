"""How sure a gain in accuracy is."""

import numpy as np


def gain_interval(
    before: np.ndarray, after: np.ndarray, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """The gain in accuracy on the same images, and its 95 % interval by the paired bootstrap.

    An image adds −1, 0 or 1 to the difference, so how often each is drawn when images are drawn with replacement
    follows a multinomial distribution: drawing from that gives the same as drawing images.

    Args:
        before: Whether each image was right (N,).
        after: The same with what was changed.
        resamples: How often all images are drawn.
        seed: Seed of the draws.

    Returns:
        The gain and both ends of the interval, as fractions of one; NaN without images.
    """
    count = len(before)
    if count == 0:
        return np.nan, np.nan, np.nan
    won, lost = np.count_nonzero(after & ~before), np.count_nonzero(before & ~after)
    draws = np.random.default_rng(seed).multinomial(count, np.array([won, lost, count - won - lost]) / count, resamples)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / count, [2.5, 97.5])
    return (won - lost) / count, float(low), float(high)
