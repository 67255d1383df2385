"""Decisions against a recursion from the root, one image at a time, and against the loss that trains them."""

import math

import numpy as np
import pytest
import torch

from timm_vipriors.hierarchy import ClassHierarchy, tree_decisions
from timm_vipriors.loss import TreeSupervisionLoss

from .trees import random_parents


def leaves(tree, node):
    return [node] if node < tree.num_classes else [leaf for c in tree.children(node) for leaf in leaves(tree, c)]


@pytest.mark.parametrize('seed', range(4))
def test_against_recursion(seed):
    rng = np.random.default_rng(seed)
    tree = ClassHierarchy(random_parents(rng, 20))
    logits = rng.normal(0, 2, (5, 20))
    decisions = tree_decisions(logits, tree)
    for i, row in enumerate(logits):
        probabilities, hard = {}, tree.root

        def walk(node, so_far, row=row, probabilities=probabilities, i=i):
            children = tree.children(node)
            exps = [math.exp(np.mean(row[leaves(tree, c)])) for c in children]
            for child, e in zip(children, exps, strict=True):
                assert decisions.node_probabilities[child, i] == pytest.approx(e / sum(exps))
                walk(child, so_far * e / sum(exps))
            if not children:
                probabilities[node] = so_far

        walk(tree.root, 1.0)
        np.testing.assert_allclose(decisions.class_probabilities[i], [probabilities[c] for c in range(20)])
        assert decisions.soft[i] == max(probabilities, key=probabilities.get)
        while children := tree.children(hard):
            hard = max(children, key=lambda c: np.mean(row[leaves(tree, c)]))
        assert decisions.hard[i] == hard
        path = decisions.path(i)
        assert [node for node, _ in path] == list(reversed(tree.path(hard)))
        assert math.prod(p for _, p in path) == pytest.approx(probabilities[hard])
        assert math.prod(p for _, p in decisions.path(i, label=3)) == pytest.approx(probabilities[3])


def test_soft_inference_is_what_the_soft_loss_trains():
    tree = ClassHierarchy.induce(torch.randn(12, 6, generator=torch.Generator().manual_seed(0)))
    logits, target = torch.randn(7, 12, dtype=torch.float64), torch.arange(7)
    loss = TreeSupervisionLoss(tree, mode='soft', reduction='none')(logits, target)
    probabilities = tree_decisions(logits, tree).class_probabilities[range(7), target]
    np.testing.assert_allclose(-np.log(probabilities), loss.numpy())


def test_large_logits_and_wrong_ones():
    tree = ClassHierarchy([3, 3, 4, 4, -1])
    decisions = tree_decisions(np.array([[1e300, -1e300, 0.0]]), tree)
    assert np.isfinite(decisions.class_probabilities).all()
    for logits, message in (
        (np.zeros((2, 4)), r'logits \(B, 3\) for the tree, got the shape \(2, 4\)'),
        (np.zeros(3), r'got the shape \(3,\)'),
        (np.array([[np.nan, 0, 0]]), 'finite'),
    ):
        with pytest.raises(ValueError, match=message):
            tree_decisions(logits, tree)
