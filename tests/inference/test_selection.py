import numpy as np
import pytest

from timm_vipriors.inference import weighted_average
from timm_vipriors.inference.selection import greedy_search

from .score_files import random_scores

CLASSES = 6


def labels(count=300, seed=9):
    return np.random.default_rng(seed).integers(CLASSES, size=count)


def specialists(targets):
    """Two models that are right on classes the other guesses, among models that know nothing."""
    count = len(targets)
    members = [random_scores(count, CLASSES, seed) for seed in range(6)]
    for at, half in ((1, targets < CLASSES // 2), (4, targets >= CLASSES // 2)):
        logits = np.log(members[at])
        logits[half, targets[half]] += 4
        exp = np.exp(logits)
        members[at] = (exp / exp.sum(axis=1, keepdims=True)).astype(np.float32)
    return members


def plain_search(members, targets, max_members):
    """Greedy selection with loops."""
    chosen, best = [], -1
    while len(chosen) < max_members:
        accuracies = [
            (weighted_average([members[i] for i in [*chosen, m]]).argmax(axis=1) == targets).mean()
            for m in range(len(members))
        ]
        if max(accuracies) <= best:
            break
        best = max(accuracies)
        chosen.append(accuracies.index(best))
    return chosen, best


def test_finds_the_planted_pair():
    targets = labels()
    found = greedy_search(specialists(targets), targets, max_members=2)
    assert found.weights == (0, 1, 0, 0, 1, 0)
    assert found.correct.mean() > found.singles.mean(axis=1).max() + 0.1
    assert found.held_out.mean() > found.singles.mean(axis=1).max() + 0.1
    assert found.steps[-1] == pytest.approx(found.correct.mean())


@pytest.mark.parametrize('max_members', [1, 3, 10])
def test_is_the_plain_search(max_members, monkeypatch):
    monkeypatch.setattr('timm_vipriors.inference.selection.BLOCK_ELEMENTS', CLASSES * 70)
    targets = labels()
    members = [random_scores(300, CLASSES, seed, skill=1.5, targets=targets) for seed in range(5)]
    chosen, best = plain_search(members, targets, max_members)
    found = greedy_search(members, targets, max_members=max_members)
    assert found.weights == tuple(chosen.count(i) for i in range(5))
    assert len(found.steps) == len(chosen) <= max_members
    assert found.correct.mean() == pytest.approx(best)
    average = weighted_average(members, found.weights)
    np.testing.assert_array_equal(found.correct, average.argmax(axis=1) == targets)
    np.testing.assert_array_equal(found.singles, [m.argmax(axis=1) == targets for m in members])


def test_held_out_images_are_not_seen():
    """Each fold's ensemble is the one that the plain search finds on the other folds."""
    targets = labels(60)
    members = [random_scores(60, CLASSES, seed, skill=1, targets=targets) for seed in range(4)]
    found = greedy_search(members, targets, folds=3, seed=5)
    expected = np.zeros(60, bool)
    parts = np.array_split(np.random.default_rng(5).permutation(60), 3)
    for part in parts:
        rest = np.setdiff1d(np.arange(60), part)
        chosen, _ = plain_search([m[rest] for m in members], targets[rest], 10)
        expected[part] = weighted_average([members[i][part] for i in chosen]).argmax(axis=1) == targets[part]
    np.testing.assert_array_equal(found.held_out, expected)


def test_on_noise_the_cross_validated_accuracy_is_the_honest_one():
    targets = labels(200)
    members = [random_scores(200, CLASSES, seed) for seed in range(20)]
    found = greedy_search(members, targets, max_members=10)
    assert found.correct.mean() > found.singles.mean(axis=1).max() > 1 / CLASSES + 0.02
    assert found.held_out.mean() < found.correct.mean() - 0.03
    assert abs(found.held_out.mean() - 1 / CLASSES) < 0.08


def test_stops_when_nothing_helps():
    targets = labels(50)
    right = np.eye(CLASSES, dtype=np.float32)[targets]
    found = greedy_search([random_scores(50, CLASSES), right, right], targets)
    assert found.weights == (0, 1, 0)  # the first of equals, once
    assert found.steps == (1.0,)


def test_metric_and_seed_and_folds_matter():
    targets = labels()
    members = specialists(targets)
    top1, top5 = (greedy_search(members, targets, metric) for metric in ('top1', 'top5'))
    assert (top5.singles.sum(axis=1) > top1.singles.sum(axis=1)).all()
    noise = [random_scores(300, CLASSES, seed) for seed in range(8)]
    first, again = greedy_search(noise, targets), greedy_search(noise, targets)
    np.testing.assert_array_equal(first.held_out, again.held_out)
    for change in ({'seed': 1}, {'folds': 3}):
        assert (first.held_out != greedy_search(noise, targets, **change).held_out).any()


@pytest.mark.parametrize(
    'change, message',
    [
        ({'max_members': 0}, 'at least one member'),
        ({'folds': 1}, r'folds must be in 2 … 300, .* got 1'),
        ({'folds': 301}, 'got 301'),
        ({'targets': labels() - 1}, r'expected 300 targets of 0 … 5, all known'),
        ({'targets': labels() + 1}, 'expected 300 targets'),
        ({'targets': labels(299)}, 'expected 300 targets'),
        ({'members': [random_scores(300, 6), random_scores(300, 5)]}, 'expected scores of one shape'),
        ({'members': []}, 'expected scores of one shape'),
        ({'metric': 'top2'}, "'top1' or 'top5', got 'top2'"),
    ],
)
def test_wrong_arguments(change, message):
    arguments = {'members': [random_scores(300, CLASSES)], 'targets': labels(), **change}
    with pytest.raises(ValueError, match=message):
        greedy_search(**arguments)
