"""Scores and score files for tests."""

from pathlib import Path

import numpy as np

from timm_vipriors.inference import Scores


def random_scores(count: int = 20, classes: int = 5, seed: int = 0, skill: float = 0.0, targets=None) -> np.ndarray:
    """Probabilities; with targets and skill those of the targets are raised."""
    logits = np.random.default_rng(seed).normal(size=(count, classes))
    if targets is not None:
        logits[np.arange(count), targets] += skill
    exp = np.exp(logits)
    return (exp / exp.sum(axis=1, keepdims=True)).astype(np.float32)


def names(count: int) -> np.ndarray:
    return np.array([f'class{i % 3}/{i:03}.png' for i in range(count)], dtype=str)


def save(path: Path, scores: np.ndarray, **fields) -> str:
    """A score file; fields in place of the default ones."""
    fields = {'filenames': names(len(scores)), 'model': path.stem, **fields}
    Scores(scores, **fields).save(path)
    return str(path)
