"""A tree of the classes on a page: the figures of `tree_accuracy`, and the decisions of `tree_decisions`."""

from dataclasses import replace

import numpy as np
import pytest

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError
from timm_vipriors.hierarchy import ClassHierarchy, log_probabilities, tree_accuracy, tree_decisions

from .html import build, cells
from .samples import HEADER, make_scores, save, write_run

NAMES = [f'class {i}' for i in range(6)]
TREE = ClassHierarchy([6, 6, 7, 7, 7, 8, 8, 8, -1], NAMES, {6: 'low <b>', 7: 'middle'})


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / 'tree.json'
    TREE.save(path)
    return path


def test_the_figures_are_those_of_the_functions(tmp_path, tree, capsys):
    scores = make_scores(200, 6, unknown=20)
    path = save(tmp_path / 's.npz', scores)
    assert main(['report', str(path), '--hierarchy', str(tree), '-o', str(tmp_path / 'page.html')]) == 0
    text = build(path, hierarchy=tree)
    assert (tmp_path / 'page.html').read_text(encoding='utf-8') == text
    logits, targets = log_probabilities(scores.scores[20:]), scores.targets[20:]
    found = tree_accuracy(logits, targets, TREE)
    rows = cells(text, 'Accuracy at the nodes of the tree')
    names = {8: 'all classes', 6: 'low &lt;b&gt;', 7: 'middle'}
    assert sorted(rows) == sorted(
        [
            names[node],
            '',
            f'{100 * found.inside[node] / found.images[node]:.1f}\u00a0%',
            f'{100 * found.decided[node] / found.images[node]:.1f}\u00a0%',
            f'{found.images[node]}',
        ]
        for node in names
    )
    wrong = 180 - found.correct[0]
    assert [row[:2] for row in cells(text, 'Mistakes by their distance')] == [
        [f'{edges}', f'{count}'] for edges, count in enumerate(found.distances) if edges and count
    ]
    assert sum(int(row[1]) for row in cells(text, 'Mistakes by their distance')) == wrong
    decisions = tree_decisions(logits, TREE)
    for name, _, way, _ in cells(text, 'Most confident mistakes'):
        (image,) = np.flatnonzero(scores.filenames[20:] == name)
        steps = [f'{(names | dict(enumerate(NAMES)))[node]} ({p:.0%})' for node, p in decisions.path(image)]
        assert way == ' → '.join(steps).replace('%', '\u00a0%')


def test_classes_are_matched_by_name(tmp_path, tree):
    scores = make_scores(100, 6)
    order = np.array([3, 0, 5, 1, 4, 2])
    other = replace(scores, scores=scores.scores[:, order], class_names=scores.class_names[order])
    other = replace(other, targets=np.argsort(order)[scores.targets])
    pages = [build(save(tmp_path / f'{i}.npz', s), hierarchy=tree) for i, s in enumerate((scores, other))]
    for caption in ('Accuracy at the nodes of the tree', 'Mistakes by their distance', 'Most confident mistakes'):
        assert sorted(cells(pages[0], caption)) == sorted(cells(pages[1], caption))


def test_without_labels_or_names(tmp_path, tree):
    scores = make_scores(20, 6)
    text = build(save(tmp_path / 'a.npz', replace(scores, targets=None)), hierarchy=tree)
    assert 'nor in the tree' in text and 'Accuracy in the tree' not in text
    others = (
        (replace(scores, class_names=None), 'needs the names of the classes'),
        (make_scores(20, 5), 'the classes are not those of the tree'),
    )
    for bad, message in others:
        with pytest.raises(UserError, match=message):
            build(save(tmp_path / 'b.npz', bad), hierarchy=tree)
    run = write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5')
    with pytest.raises(UserError, match='--hierarchy is for the mistakes of a score file'):
        build(run, hierarchy=tree)
    (tmp_path / 'tree.txt').write_text('no')
    with pytest.raises(UserError, match=r'tree.txt is not a hierarchy'):
        build(save(tmp_path / 'c.npz', scores), hierarchy=tmp_path / 'tree.txt')
