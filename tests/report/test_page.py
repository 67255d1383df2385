"""The page of a report says what it must of models of any size."""

import re

import numpy as np
import pytest

from timm_vipriors.inference.scores import Scores

from .html import Page, build, cells, headings
from .samples import HEADER, make_scores, save, write_run


def test_ten_classes(tmp_path):
    scores = make_scores(1297, 10, unknown=7)
    text = build(save(tmp_path / 's.npz', scores))
    cards = ['Confusion', 'Calibration', 'Accuracy by class', 'Most confused pairs', 'Most confident mistakes']
    assert headings(text) == cards
    assert 'Left out: 7 images without a label' in text
    tiles = ['Top-1 accuracy', 'Balanced accuracy', 'Top-5 accuracy', 'Cross-entropy', 'Calibration error']
    assert Page(text).texts_of('dt') == tiles
    assert text.count('n\u00a0=\u00a01,290') == 5
    assert len(text) < 200_000
    pairs = list(zip(scores.targets[7:].tolist(), scores.scores[7:].argmax(1).tolist(), strict=True))
    matrix = cells(text, 'Confusion matrix of 10 classes: true classes in rows, predicted ones in columns')
    for true, row in enumerate(matrix):
        assert row == [f'class {true}', *(str(pairs.count((true, p)) or '') for p in range(10))]


def test_the_same_input_gives_the_same_page(tmp_path):
    sources = save(tmp_path / 's.npz', make_scores(100, 10)), write_run(tmp_path / 'A', HEADER, '0,1,2,3,4,5')
    assert build(*sources) == build(*sources)


def test_a_thousand_classes_have_no_matrix(tmp_path):
    text = build(save(tmp_path / 's.npz', make_scores(3000, 1000)))
    classes = ['Accuracy by class', 'The 15 worst classes', 'The 15 best classes']
    assert headings(text) == ['Calibration', *classes, 'Most confused pairs', 'Most confident mistakes']
    worst, best = (
        [float(row[2].removesuffix('\u00a0%')) for row in cells(text, f'The 15 {which} classes')]
        for which in ('worst', 'best')
    )
    assert len(worst) == len(best) == 15
    assert worst == sorted(worst) and best == sorted(best, reverse=True) and worst[-1] < best[-1]
    assert re.search(r'The first 30 of [\d,]+ pairs', text)
    assert len(text) < 100_000


@pytest.mark.parametrize(('rows', 'classes'), [(1, 10), (1, 1000), (40, 2), (1, 1), (100, 31), (400, 61)])
def test_odd_sizes(tmp_path, rows, classes):
    text = build(save(tmp_path / 's.npz', make_scores(rows, classes)))
    assert ('Confusion matrix' in text) == (classes <= 30)
    assert ('five classes or fewer' in text) == (classes <= 5)
    assert ('worst classes' in text) == (classes > 60 and rows > 60)


def test_no_mistakes(tmp_path):
    scores = Scores(np.eye(3, dtype=np.float32), np.array(['a', 'b', 'c']), np.arange(3), None, '')
    text = build(save(tmp_path / 's.npz', scores))
    assert 'There are none: 3 images are right.' in text
    assert 'No image was taken for another class.' in text


@pytest.mark.parametrize(
    ('wrong', 'note'),
    [(1, 'The only mistake.'), (24, 'All 24 mistakes.'), (25, 'The 24 of 25 mistakes with the highest')],
)
def test_it_says_how_many_mistakes_are_shown(tmp_path, wrong, note):
    targets = np.array([1] * wrong + [0] * 3)
    scores = np.tile(np.array([[0.75, 0.25]], dtype=np.float32), (len(targets), 1))
    names = np.array([f'{i}.png' for i in range(len(targets))])
    text = build(save(tmp_path / 's.npz', Scores(scores, names, targets, None, '')))
    assert f'<p class="note">{note}' in text
    assert [row[0] for row in cells(text, 'Most confident mistakes')] == [f'{i}.png' for i in range(min(wrong, 24))]


@pytest.mark.parametrize('classes', [10, 100])
def test_without_labels(tmp_path, classes):
    scores = make_scores(300, classes)
    text = build(save(tmp_path / 's.npz', Scores(scores.scores, scores.filenames, None, scores.class_names, 'm')))
    assert 'The labels are missing' in text
    assert headings(text) == ['Confidence of the predictions', 'Predicted classes']


def test_there_is_no_negative_zero(tmp_path):
    """Minus the mean logarithm of scores that are all one is -0.0; a loss can round to it."""
    scores = Scores(np.eye(3, dtype=np.float32), np.array(['a', 'b', 'c']), np.arange(3), None, '')
    run = write_run(tmp_path / 'A', HEADER, '0,-0.0,-0.00001,-0.001,-0.0,-0.0', '1,-0.5,-1,0,0,0')
    text = build(save(tmp_path / 's.npz', scores), run)
    body = re.sub(r'<svg.*?</svg>|<style.*?</style>', '', text, flags=re.DOTALL)
    assert not re.search(r'-0(\.0*)?(?![.\d])', re.sub(r'<[^>]*>', ' ', body))
    assert cells(text, 'Epochs of A') == [
        ['0', '0.0000', '0.0000', '0.00', '0.00', '0'],
        ['1', '-0.5000', '-1.0000', '0.00', '0.00', '0'],
    ]
