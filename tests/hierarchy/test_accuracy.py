"""The figures of a tree against counts image by image, with sets in the place of arrays."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from timm_vipriors.hierarchy import ClassHierarchy, log_probabilities, tree_accuracy, tree_decisions
from timm_vipriors.hierarchy.accuracy import node_name

from .trees import random_parents


def edges(tree, a, b):
    """Between two leaves, by their ways to the root."""
    ways = [{leaf, *tree.path(leaf)} for leaf in (a, b)]
    return len(ways[0] ^ ways[1])


@pytest.mark.parametrize('seed', range(3))
def test_image_by_image(seed, monkeypatch):
    monkeypatch.setattr('timm_vipriors.hierarchy.accuracy._CHUNK', 30)
    rng = np.random.default_rng(seed)
    tree = ClassHierarchy(random_parents(rng, 12))
    targets = rng.integers(12, size=100)
    logits = rng.normal(0, 2, (100, 12)) + 3 * np.eye(12)[targets]
    found, decisions = tree_accuracy(logits, targets, tree), tree_decisions(logits, tree)
    images, decided, inside, distances = Counter(), Counter(), Counter(), Counter()
    for i, target in enumerate(targets.tolist()):
        own = max(range(12), key=lambda c, i=i: logits[i, c])
        distances[edges(tree, own, target)] += 1
        way = [*reversed(tree.path(target))]
        for node, towards in zip([tree.root, *way], [*way, None], strict=True):
            images[node] += 1
            inside[node] += node in {own, tree.root, *tree.path(own)}
            if towards is not None:
                best = max(tree.children(node), key=lambda c, i=i: decisions.node_probabilities[c, i])
                decided[node] += best == towards
    for counted, array in ((images, found.images), (decided, found.decided), (inside, found.inside)):
        assert array.tolist() == [counted[node] for node in range(tree.num_nodes)]
    assert found.distances.tolist() == [distances[d] for d in range(len(found.distances))]
    own = (logits.argmax(1) == targets).sum()
    assert found.correct == (own, (decisions.soft == targets).sum(), (decisions.hard == targets).sum())
    assert 0 < found.distances[0] == own < 100
    text = str(found)
    assert f'{100 - own} mistakes by the edges to the true class: ' in text
    assert f'{found.images[tree.root]}' in text


def test_probabilities_decide_as_logits_do():
    """Also in float32, where the smallest of these are 0."""
    rng = np.random.default_rng(0)
    tree = ClassHierarchy(random_parents(rng, 20))
    logits = rng.normal(0, 6, (200, 20))
    probabilities = torch.tensor(logits, dtype=torch.float32).softmax(1).numpy()
    ours, theirs = tree_decisions(log_probabilities(probabilities), tree), tree_decisions(logits, tree)
    np.testing.assert_allclose(ours.node_probabilities, theirs.node_probabilities, atol=1e-5)
    np.testing.assert_array_equal(ours.soft, theirs.soft)
    np.testing.assert_array_equal(ours.hard, theirs.hard)
    assert math.isclose(log_probabilities(np.zeros((1, 1), np.float32))[0, 0], math.log(2**-149))


def test_names_and_text():
    tree = ClassHierarchy([5, 5, 6, 6, 7, 6, 7, -1], list('abcde'), {6: 'group'})
    assert [node_name(tree, node) for node in (0, 5, 6, 7)] == ['a', 'a, b', 'group', 'all classes']
    text = str(tree_accuracy(np.eye(5)[[0, 1, 1]], np.array([0, 0, 4]), tree))
    assert '2 mistakes by the edges to the true class: 1 at 2, 1 at 4; 3.00 on average' in text
    assert [line.split() for line in text.splitlines()[-3:]] == [
        ['all', 'classes', '3', '66.67', '100.00'],
        ['group', '2', '100.00', '100.00'],
        ['a,', 'b', '2', '50.00', '100.00'],
    ]
    assert str(tree_accuracy(np.zeros((0, 5)), np.zeros(0, int), tree)).startswith('top-1 – %')


@pytest.mark.parametrize('targets', [[0], [0, -1], [0, 3]])
def test_targets_that_do_not_fit(targets):
    with pytest.raises(ValueError, match=r'expected 2 targets of 0 … 2, all known'):
        tree_accuracy(np.zeros((2, 3)), np.array(targets), ClassHierarchy([3, 3, 4, 4, -1]))
