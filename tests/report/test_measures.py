"""The measures of a report against slow, obvious references."""

import math

import numpy as np
import pytest

from timm_vipriors.errors import UserError
from timm_vipriors.inference.scores import Scores
from timm_vipriors.report.measures import Predictions

from .samples import make_scores


@pytest.mark.parametrize(('rows', 'classes'), [(1, 10), (300, 2), (400, 7), (60, 200)])
def test_measures_equal_loops(rows, classes):
    scores = make_scores(rows, classes)
    names = scores.class_names.tolist()
    right, in_five, entropy, confusion, confident = 0, 0, 0.0, {}, []
    by_class = {}
    bins = [[] for _ in range(15)]
    for row, target, name in zip(scores.scores.tolist(), scores.targets.tolist(), scores.filenames, strict=True):
        ranking = sorted(range(classes), key=lambda c: -row[c])
        best = ranking[0]
        right += best == target
        in_five += target in ranking[:5]
        entropy -= math.log(row[target]) / rows
        by_class.setdefault(names[target], []).append(best == target)
        confusion[target, best] = confusion.get((target, best), 0) + 1
        if best != target:
            confident.append((-row[best], name, names[target], names[best]))
        bin_ = next(i for i in range(15) if row[best] <= (i + 1) / 15 or i == 14)
        bins[bin_].append((row[best], best == target))
    gaps = [abs(sum(ok for _, ok in b) / len(b) - sum(c for c, _ in b) / len(b)) * len(b) / rows for b in bins if b]
    recalls = {name: sum(hits) / len(hits) for name, hits in by_class.items()}

    m = Predictions.of(scores).labelled()
    assert (len(m), m.correct.sum(), m.top1) == (rows, right, pytest.approx(right / rows))
    assert m.top5 == (None if classes <= 5 else pytest.approx(in_five / rows))
    assert m.cross_entropy == pytest.approx(entropy)
    assert m.balanced_accuracy == pytest.approx(sum(recalls.values()) / len(recalls))
    assert m.calibration_error == pytest.approx(sum(gaps))
    assert m.calibration()[0].tolist() == [len(b) for b in bins]
    assert m.calibration()[1].tolist() == [sum(ok for _, ok in b) for b in bins]
    by_accuracy = m.accuracy_by_class()
    assert {name: (accuracy, count) for name, accuracy, count in by_accuracy} == {
        name: (recalls[name], len(hits)) for name, hits in by_class.items()
    }
    assert [accuracy for _, accuracy, _ in by_accuracy] == sorted(recalls.values())
    assert m.mistakes() == [(name, true, other, -minus) for minus, name, true, other in sorted(confident)]
    sizes = {c: len(by_class.get(names[c], ())) for c in range(classes)}
    wrong = sorted((-n, -n / sizes[t], t, p) for (t, p), n in confusion.items() if t != p)
    assert m.confused_pairs() == [(names[t], names[p], -n, -share) for n, share, t, p in wrong]
    counts, shades = m.confusion()
    assert {(t, p): n for (t, p), n in np.ndenumerate(counts) if n} == confusion
    assert ((shades > 0) == (counts > 0)).all() and shades.max() <= 1
    assert wrong == [] or shades[~np.eye(classes, dtype=bool)].max() == 1


def test_rows_without_target_are_left_out():
    part = make_scores(200, 8)
    rest = Scores(part.scores[50:], part.filenames[50:], part.targets[50:], part.class_names, 'model')
    some, alone = Predictions.of(make_scores(200, 8, unknown=50)), Predictions.of(rest)
    assert (len(some), len(some.labelled())) == (200, 150)
    assert some.labelled().cross_entropy == alone.cross_entropy
    assert some.labelled().mistakes() == alone.mistakes()
    assert sum(count for _, count in some.predicted_classes()) == 200


@pytest.mark.parametrize('targets', [None, np.full(9, -1)])
def test_without_targets_only_predictions_are_counted(targets):
    scores = make_scores(9, 4)
    all_rows = Predictions.of(Scores(scores.scores, scores.filenames, targets, None, ''))
    assert not all_rows.labelled()
    counts = np.bincount(scores.scores.argmax(1), minlength=4)
    expected = sorted(((str(i), n) for i, n in enumerate(counts) if n), key=lambda pair: -pair[1])
    assert all_rows.predicted_classes() == expected


def test_no_rows_are_an_error():
    with pytest.raises(UserError, match='no rows'):
        Predictions.of(Scores(np.zeros((0, 3), dtype=np.float32), np.array([], dtype=str), None, None, ''))


def test_a_probability_of_zero_is_floored_and_counted():
    m = Predictions.of(Scores(np.eye(2, dtype=np.float32), np.array(['a', 'b']), np.array([0, 0]), None, ''))
    assert (m.floored, m.cross_entropy) == (1, pytest.approx(-math.log(1e-12) / 2))


def test_equal_scores_rank_by_class_index():
    scores = np.full((6, 6), 1 / 6, dtype=np.float32)
    m = Predictions.of(Scores(scores, np.arange(6).astype(str), np.arange(6), None, ''))
    assert m.predicted.tolist() == [0] * 6
    assert m.in_five.tolist() == [True] * 5 + [False]


def test_a_confidence_on_an_edge_is_in_the_lower_bin():
    confidence = np.array([1 / 15, 2 / 15, 1.0, 1.0000001])
    scores = Scores(np.eye(4, dtype=np.float32), np.arange(4).astype(str), np.array([0, 1, 2, 0]), None, '')
    m = Predictions.of(scores)
    m.confidence[:] = confidence
    counts, correct, total = m.calibration()
    assert counts.tolist() == [1, 1] + [0] * 12 + [2]
    assert correct.tolist() == [1, 1] + [0] * 12 + [1]
    assert total.sum() == pytest.approx(confidence.sum())


def test_confused_pairs_go_by_count_then_by_share():
    targets = np.array([0] * 10 + [1] * 2 + [2] * 3)
    predicted = np.array([1] * 2 + [0] * 8 + [2] * 2 + [0] * 3)
    scores = np.eye(3, dtype=np.float32)[predicted]
    m = Predictions.of(Scores(scores, np.arange(15).astype(str), targets, np.array(['a', 'b', 'c']), ''))
    assert m.confused_pairs() == [('c', 'a', 3, 1), ('b', 'c', 2, 1), ('a', 'b', 2, 0.2)]
