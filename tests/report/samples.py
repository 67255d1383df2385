"""Scores and runs for the tests of the report."""

from pathlib import Path

import numpy as np

from timm_vipriors.inference.scores import Scores

HEADER = 'epoch,train_loss,eval_loss,eval_top1,eval_top5,lr'


def make_scores(rows: int, classes: int, seed: int = 0, unknown: int = 0) -> Scores:
    """Scores of a model that is right about half of the time; the first `unknown` rows have no target."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(classes, size=rows)
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), targets] += rng.normal(1.5, 1, size=rows)
    exp = np.exp(2 * logits)
    targets[:unknown] = -1
    names = np.array([f'{i % 7}/{i}.png' for i in range(rows)])
    labels = np.array([f'class {i}' for i in range(classes)])
    return Scores((exp / exp.sum(axis=1, keepdims=True)).astype(np.float32), names, targets, labels, 'model')


def save(path: Path, scores: Scores) -> Path:
    scores.save(path)
    return path


def write_run(folder: Path, *lines: str, settings: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / 'summary.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    if settings is not None:
        (folder / 'args.yaml').write_text(settings)
    return folder
