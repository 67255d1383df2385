"""The figures of a report against slow, obvious references, and what a training's folder says."""

import math

import numpy as np
import pytest

from timm_vipriors.errors import UserError
from timm_vipriors.inference.scores import Scores
from timm_vipriors.report.figures import (
    MAX_MISTAKES,
    calibrate,
    confused_pairs,
    gather,
    predictions,
    target_scores,
    wilson,
)
from timm_vipriors.report.runs import read_run

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


def write_run(folder, *lines: str, settings: str | None = None):
    folder.mkdir(parents=True)
    (folder / 'summary.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    if settings is not None:
        (folder / 'args.yaml').write_text(settings)
    return folder


@pytest.mark.parametrize(('rows', 'classes'), [(1, 10), (300, 2), (400, 7), (60, 200)])
def test_figures_equal_loops(rows, classes):
    scores = make_scores(rows, classes)
    measured = gather(scores).measured
    right, in_five, entropy, confusion, confident = 0, 0, 0.0, {}, []
    class_counts, class_correct = [0] * classes, [0] * classes
    bins = [[] for _ in range(15)]
    for row, target, name in zip(scores.scores.tolist(), scores.targets.tolist(), scores.filenames, strict=True):
        ranking = sorted(range(classes), key=lambda c: -row[c])
        best = ranking[0]
        right += best == target
        in_five += target in ranking[:5]
        entropy -= math.log(row[target]) / rows
        class_counts[target] += 1
        class_correct[target] += best == target
        confusion[target, best] = confusion.get((target, best), 0) + 1
        if best != target:
            confident.append((-row[best], name))
        bin_ = next(i for i in range(15) if row[best] <= (i + 1) / 15 or i == 14)
        bins[bin_].append((row[best], best == target))
    gaps = [abs(sum(ok for _, ok in b) / len(b) - sum(c for c, _ in b) / len(b)) * len(b) / rows for b in bins if b]

    assert (measured.count, measured.correct) == (rows, right)
    assert measured.top5 == (None if classes <= 5 else pytest.approx(in_five / rows))
    assert measured.cross_entropy == pytest.approx(entropy)
    assert measured.calibration.error == pytest.approx(sum(gaps))
    assert measured.calibration.counts.tolist() == [len(b) for b in bins]
    assert measured.class_counts.tolist() == class_counts
    assert measured.class_correct.tolist() == class_correct
    assert [m.filename for m in measured.mistakes] == [name for _, name in sorted(confident)][:MAX_MISTAKES]
    wrong = sorted(((-n, -n / class_counts[t], t, p) for (t, p), n in confusion.items() if t != p))
    assert [(p.count, p.share, p.true, p.predicted) for p in measured.pairs] == [
        (-n, -share, t, p) for n, share, t, p in wrong[:30]
    ]
    assert measured.num_pairs == len(wrong)
    if classes > 30:
        assert measured.confusion is None
    else:
        assert {(t, p): n for (t, p), n in np.ndenumerate(measured.confusion) if n} == confusion


def test_rows_without_target_are_left_out():
    whole, part = make_scores(200, 8, unknown=50), make_scores(200, 8)
    rest = Scores(part.scores[50:], part.filenames[50:], part.targets[50:], part.class_names, 'model')
    some, alone = gather(whole), gather(rest)
    assert (some.count, some.measured.count) == (200, 150)
    assert (some.measured.correct, some.measured.cross_entropy) == (
        alone.measured.correct,
        alone.measured.cross_entropy,
    )
    assert some.measured.mistakes == alone.measured.mistakes
    assert some.predicted_counts.sum() == some.confidence_counts.sum() == 200


@pytest.mark.parametrize('targets', [None, np.full(9, -1)])
def test_without_targets_only_predictions_are_counted(targets):
    scores = make_scores(9, 4)
    figures = gather(Scores(scores.scores, scores.filenames, targets, None, ''))
    assert figures.measured is None
    assert figures.class_names == ['0', '1', '2', '3']
    assert figures.predicted_counts.tolist() == np.bincount(scores.scores.argmax(1), minlength=4).tolist()


def test_gather_refuses_what_has_no_figures():
    scores = make_scores(3, 4)
    with pytest.raises(UserError, match='no rows'):
        gather(Scores(scores.scores[:0], scores.filenames[:0], None, None, ''))
    with pytest.raises(UserError, match=r'0 … 3 for 4 classes, got 4'):
        gather(Scores(scores.scores, scores.filenames, np.array([0, 1, 4]), None, ''))


def test_a_probability_of_zero_is_floored_and_counted():
    scores = Scores(np.eye(2, dtype=np.float32), np.array(['a', 'b']), np.array([0, 0]), None, '')
    measured = gather(scores).measured
    assert measured.floored == 1
    assert measured.cross_entropy == pytest.approx(-math.log(1e-12) / 2)


def test_equal_scores_rank_by_class():
    scores = np.full((6, 6), 1 / 6, dtype=np.float32)
    targets = np.arange(6)
    assert predictions(scores)[0].tolist() == [0] * 6
    assert target_scores(scores, targets, np.arange(6))[1].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_rank_does_not_depend_on_the_chunks(monkeypatch):
    scores = make_scores(100, 9)
    rows = np.arange(3, 100)
    whole = target_scores(scores.scores, scores.targets, rows)
    monkeypatch.setattr('timm_vipriors.report.figures._CHUNK', 7)
    for one, other in zip(whole, target_scores(scores.scores, scores.targets, rows), strict=True):
        assert np.array_equal(one, other)


def test_an_edge_is_in_the_lower_bin():
    result = calibrate(np.array([1 / 15, 2 / 15, 1.0, 1.0000001]), np.array([True, True, True, False]))
    assert result.counts.tolist() == [1, 1] + [0] * 12 + [2]
    assert result.correct.tolist() == [1, 1] + [0] * 12 + [1]
    assert np.isnan(result.confidence[2])


def test_pairs_go_by_count_then_by_share():
    targets = np.array([0] * 10 + [1] * 2 + [2] * 3)
    predicted = np.array([1] * 2 + [0] * 8 + [2] * 2 + [0] * 3)
    pairs = confused_pairs(targets, predicted, 3)
    assert [(p.true, p.predicted, p.count, p.share) for p in pairs] == [(2, 0, 3, 1), (1, 2, 2, 1), (0, 1, 2, 0.2)]
    assert confused_pairs(targets, targets, 3) == []


@pytest.mark.parametrize(('correct', 'count'), [(0, 1), (1, 1), (0, 20), (7, 20), (1264, 1297), (50_000, 50_000)])
def test_wilson_equals_scipy(correct, count):
    from scipy.stats import binomtest

    expected = binomtest(correct, count).proportion_ci(method='wilson')
    assert wilson(correct, count) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= wilson(correct, count)[0] <= correct / count <= wilson(correct, count)[1] <= 1


def test_a_run_is_read(tmp_path):
    lines = [HEADER, '0,2.5,2.25,10.5,50,0.001', '1,1.5,1.25,60,90,0.002', '2,1.25,1.5,60,91,0.0005']
    run = read_run(str(write_run(tmp_path / 'A', *lines, settings='lr: 0.1\nmodel: x\n')))
    assert run.name == 'A'
    assert run.epochs.tolist() == [0, 1, 2]
    assert run.columns['eval_loss'].tolist() == [2.25, 1.25, 1.5]
    assert run.columns['lr'].tolist() == [0.001, 0.002, 0.0005]
    assert run.settings == {'lr': 0.1, 'model': 'x'}
    assert run.best() == ('eval_top1', 1)  # the first of equals


def test_a_resumed_run_has_a_second_header_and_epochs_twice(tmp_path):
    lines = ['epoch,train_loss,lr', '0,3,1', '1,2,1', '2,9,1', '', HEADER, '2,1.5,1.25,60,90,0.5', '3,1,1,70,95,0.25']
    run = read_run(str(write_run(tmp_path / 'A', *lines)))
    assert run.epochs.tolist() == [0, 1, 2, 3]
    assert run.columns['train_loss'].tolist() == [3, 2, 1.5, 1]
    np.testing.assert_equal(run.columns['eval_top1'], [np.nan, np.nan, 60, 70])
    assert run.settings == {}


def test_a_summary_that_a_spreadsheet_saved_is_read(tmp_path):
    assert read_run(str(write_run(tmp_path / 'A', f'\ufeff{HEADER}', '0,1,2,3,4,5'))).epochs.tolist() == [0]


@pytest.mark.parametrize(
    ('settings', 'header', 'rows', 'best'),
    [
        ('eval_metric: loss', HEADER, ['0,1,3,50,50,1', '1,1,2,40,50,1'], ('eval_loss', 1)),
        ('eval_metric: top1', HEADER, ['0,1,3,50,50,1', '1,1,2,40,50,1'], ('eval_top1', 0)),
        ('eval_metric: top5', 'epoch,train_loss', ['0,3', '1,2', '2,nan'], ('train_loss', 1)),
        ('eval_metric: top1', 'epoch,lr', ['0,3'], None),
    ],
)
def test_the_best_epoch_is_by_the_metric_of_the_run(tmp_path, settings, header, rows, best):
    assert read_run(str(write_run(tmp_path / 'A', header, *rows, settings=settings))).best() == best


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ([''], 'has no epochs'),
        ([HEADER], 'has no epochs'),
        (['0,1,2,3,4,5'], 'line 1: expected a header'),
        (['epoch,loss', '0,1'], 'line 1: expected some of the columns'),
        ([HEADER, '0,1,2'], r'line 2: expected 6 values .*, got 3'),
        ([HEADER, '0,1,2,3,4,five'], 'line 2: expected a number'),
        ([HEADER, 'x,1,2,3,4,5'], 'line 2: expected a number'),
        (['\x00\x01\x02'], 'header|CSV'),
    ],
)
def test_a_broken_summary_is_refused(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_run(str(write_run(tmp_path / 'A', *lines)))


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'has no summary.csv: expected the folder that a training wrote'):
        read_run(str(tmp_path))
    for i, settings in enumerate(['- a\n- b\n', 'a: [', 'a: !!python/object:os.system 1']):
        with pytest.raises(UserError, match=r'args.yaml'):
            read_run(str(write_run(tmp_path / str(i), HEADER, '0,1,2,3,4,5', settings=settings)))
    (tmp_path / '0' / 'summary.csv').write_bytes(b'epoch,\xff\xfe')
    with pytest.raises(UserError, match='not the CSV file'):
        read_run(str(tmp_path / '0'))
