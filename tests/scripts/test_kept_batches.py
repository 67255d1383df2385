"""Evaluation images are read once, and training's workers begin the next epoch early, with the same batches."""

import shutil

import pytest
import torch
from timm.data.loader import MultiEpochsDataLoader

from timm_vipriors.scripts import kept_batches

from .test_plugin import loader, make


def passes(batches, number=2):
    return [[(x.clone(), y.clone()) for x, y in batches] for _ in range(number)]


def equal(a, b):
    return len(a) == len(b) and all(
        torch.equal(x, z) and torch.equal(y, w) for (x, y), (z, w) in zip(a, b, strict=True)
    )


@pytest.mark.parametrize('prefetcher', [True, False])
def test_evaluation_images_are_read_once(few_digits, tmp_path, prefetcher):
    root = tmp_path / 'data'
    shutil.copytree(few_digits, root)
    kwargs = dict(split='validation', is_training=False, use_prefetcher=prefetcher)
    plain = loader(make('--epochs 1'), root, **kwargs)
    kept = loader(make('--epochs 2'), root, **kwargs)
    assert len(kept) == len(plain)
    assert kept.dataset.reader.root == str(root / 'validation')
    (expected,), (first,) = passes(plain, 1), passes(kept, 1)
    shutil.rmtree(root)
    second, third = passes(kept)
    assert equal(first, expected)
    assert equal(second, expected)
    assert equal(third, expected)
    assert getattr(kept, 'loader', kept)._iterator is None  # its workers have ended


def test_what_does_not_fit_is_read_again(few_digits, monkeypatch):
    monkeypatch.setattr(kept_batches.KeptBatches.__init__, '__defaults__', (20 * 3 * 32 * 32,))
    kept = loader(make('--epochs 2'), few_digits, split='validation', is_training=False, workers=0)
    first, second = passes(kept)
    assert len(first) == 3
    assert equal(first, second)
    assert kept.loader._kept is None


@pytest.mark.parametrize(
    ('flags', 'workers', 'early'),
    [('', 1, True), ('', 0, False), ('--mixup 0.2 --mixup-off-epoch 3', 1, False)],
)
def test_when_workers_begin_early(few_digits, flags, workers, early):
    found = loader(make(flags), few_digits, workers=workers)
    assert isinstance(found.loader, MultiEpochsDataLoader) == early
