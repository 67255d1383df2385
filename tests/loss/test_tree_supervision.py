"""Tree supervision against a recursive walk over random trees."""

import copy
import itertools
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import TreeSupervisionLoss

from .targets import hard, logits, soft


def random_tree(classes, seed, arity=5):
    """Join random groups of roots until one is left."""
    rng = random.Random(seed)
    parents = [-1] * classes
    roots = list(range(classes))
    while len(roots) > 1:
        rng.shuffle(roots)
        size = min(len(roots), rng.randint(2, arity))
        if len(roots) - size == 0 or size >= 2:
            node = len(parents)
            parents.append(-1)
            for child in roots[:size]:
                parents[child] = node
            roots = [*roots[size:], node]
    return ClassHierarchy(parents)


def chain(classes):
    """Each inner node holds one leaf and the next inner node."""
    parents = [classes + min(leaf, classes - 2) for leaf in range(classes)]
    parents += [-1, *range(classes, 2 * classes - 2)]
    return ClassHierarchy(parents)


def star(classes):
    """All classes below the root."""
    return ClassHierarchy([classes] * classes + [-1])


def wide(groups, size):
    """Groups of many classes each."""
    classes = groups * size
    root = classes + groups
    return ClassHierarchy([classes + leaf // size for leaf in range(classes)] + [root] * groups + [-1])


TREES = [random_tree(5, seed) for seed in range(4)] + [random_tree(40, 9, arity=8), chain(12), star(7), wide(4, 30)]


def reference(z, y, tree, mode):
    """By recursion from the root, one sample and one node at a time."""

    def children(node):
        return [n for n in range(tree.num_nodes) if tree.parents[n] == node]

    def leaves(node):
        return [node] if node < tree.num_classes else [leaf for c in children(node) for leaf in leaves(c)]

    losses = []
    for row, target in zip(z, y, strict=True):
        score = {node: row[leaves(node)].mean() for node in range(tree.num_nodes)}
        log_p = {}

        def walk(node, so_far, score=score, log_p=log_p):
            below = children(node)
            if not below:
                log_p[node] = so_far
                return
            total = torch.logsumexp(torch.stack([score[c] for c in below]), 0)
            for c in below:
                walk(c, so_far + score[c] - (total if mode == 'soft' else 0))

        walk(tree.root, torch.zeros((), dtype=z.dtype))
        row_log_p = torch.stack([log_p[c] for c in range(tree.num_classes)])
        if mode == 'path':
            row_log_p = row_log_p - torch.logsumexp(row_log_p, 0)
        label = target if target.ndim else F.one_hot(target, tree.num_classes).to(z.dtype)
        losses.append(-(label * row_log_p).sum())
    return torch.stack(losses)


@pytest.mark.parametrize('tree', TREES, ids=repr)
@pytest.mark.parametrize('mode', ['path', 'soft'])
@pytest.mark.parametrize('target', [hard, soft])
def test_equals_the_recursion(tree, mode, target):
    z = (2 * logits(3, tree.num_classes)).requires_grad_()
    y = target(3, tree.num_classes)
    expected = reference(z, y, tree, mode)
    for reduction, of in (('none', lambda v: v), ('sum', torch.sum), ('mean', torch.mean)):
        loss = TreeSupervisionLoss(tree, mode=mode, reduction=reduction)
        torch.testing.assert_close(loss(z, y), of(expected))
    (grad,) = torch.autograd.grad(TreeSupervisionLoss(tree, mode=mode)(z, y), z)
    (expected_grad,) = torch.autograd.grad(expected.mean(), z)
    torch.testing.assert_close(grad, expected_grad)


def test_a_flat_tree_is_plain_cross_entropy():
    z, y = logits(), hard()
    for mode in ('path', 'soft'):
        torch.testing.assert_close(TreeSupervisionLoss(star(5), mode=mode)(z, y), F.cross_entropy(z, y))


def test_soft_mode_is_a_distribution_over_the_classes():
    tree = TREES[4]
    z = logits(2, 40)
    loss = TreeSupervisionLoss(tree, mode='soft', reduction='none')
    p = torch.stack([(-loss(z, torch.full((2,), c))).exp() for c in range(40)])
    torch.testing.assert_close(p.sum(0), torch.ones(2, dtype=torch.float64))


def test_two_and_a_thousand_classes_and_a_batch_of_one():
    for classes in (2, 1000):
        z, y = logits(1, classes), hard(1, classes)
        tree = random_tree(classes, 1)
        value = TreeSupervisionLoss(tree)(z, y)
        if classes == 2:
            torch.testing.assert_close(value, reference(z, y, tree, 'path').mean())
        assert value.isfinite()


@pytest.mark.parametrize('mode', ['path', 'soft'])
def test_gradcheck(mode):
    loss = TreeSupervisionLoss(TREES[0], mode=mode, reduction='none')
    for target in (hard, soft):
        assert torch.autograd.gradcheck(lambda z, t=target: loss(z, t()), (logits(requires_grad=True),))


@pytest.mark.parametrize('mode', ['path', 'soft'])
@pytest.mark.parametrize('tree', [chain(1000), random_tree(1000, 3)], ids=repr)
def test_large_logits_lose_no_precision(mode, tree):
    z = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0)) * 1e4
    y = torch.tensor([3, 997])
    loss = TreeSupervisionLoss(tree, mode=mode)
    value = loss(z.requires_grad_(), y)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), loss(z.double(), y), rtol=1e-6, atol=0)
    value.backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    loss = TreeSupervisionLoss(TREES[0], mode='soft')
    z = logits().to(dtype)
    with torch.autocast('cpu', dtype=dtype):
        value = loss(z, hard())
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(z.float(), hard()))


@pytest.mark.parametrize('mode', ['path', 'soft'])
def test_compiles_without_graph_break(mode):
    torch._dynamo.reset()
    loss = TreeSupervisionLoss(TREES[0], mode=mode)
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    z = [logits().float().requires_grad_() for _ in range(2)]
    values = [fn(x, hard()) for fn, x in zip((compiled, loss), z, strict=True)]
    torch.testing.assert_close(*values)
    for value in values:
        value.backward()
    torch.testing.assert_close(z[0].grad, z[1].grad)


def make_online(**kwargs):
    torch.manual_seed(0)
    loss = TreeSupervisionLoss(num_classes=5, **{'start_epoch': 1, 'update_every': 2, 'steps_per_epoch': 3, **kwargs})
    classifier = nn.Linear(4, 5)
    loss.attach(classifier)
    return loss, classifier


def test_online_tree_starts_and_grows_on_time():
    loss, classifier = make_online()
    z = logits(requires_grad=True)
    trees = []
    for step in range(15):  # five epochs of three batches
        with torch.no_grad():
            classifier.weight.normal_()
        weight = classifier.weight.detach().clone()
        value = loss(z, hard())
        if step < 3:
            assert value == 0
            value.backward()  # nothing is contributed, and nothing breaks
            assert not z.grad.any()
        if step in (3, 9):  # epochs 1 and 3
            assert loss.parents.tolist() == list(ClassHierarchy.induce(weight).parents)
            tree = ClassHierarchy(loss.parents.tolist())
        if step >= 3:
            torch.testing.assert_close(value, reference(z, hard(), tree, 'path').mean())
        trees.append(loss.parents.tolist())
    assert [a != b for a, b in itertools.pairwise(trees)].count(True) == 2
    assert loss.step == 15


def test_online_tree_counts_training_batches_only():
    loss, _ = make_online(start_epoch=0)
    loss.eval()(logits(), hard())
    with torch.no_grad():
        loss.train()(logits(), hard())
    assert loss.step == 0
    assert loss(logits(), hard()) > 0  # epoch 0: before the first step
    assert loss.step == 1


def test_online_tree_in_the_state_dict():
    loss, classifier = make_online()
    for _ in range(5):
        loss(logits(), hard())
    other, _ = make_online()
    other.load_state_dict(loss.state_dict())
    other.attach(classifier)
    assert {k: v.shape for k, v in other.state_dict().items()} == {'parents': torch.Size([9]), 'step': torch.Size([])}
    for _ in range(6):
        torch.testing.assert_close(other(logits(), hard()), loss(logits(), hard()))
        assert torch.equal(other.parents, loss.parents)
    fresh, _ = make_online()
    early = copy.deepcopy(fresh)
    early.load_state_dict(fresh.state_dict())
    assert early.layout is None


def test_the_classifier_is_not_part_of_the_loss():
    loss, classifier = make_online()
    assert not list(loss.parameters())
    both = nn.ModuleDict({'loss': loss, 'classifier': classifier})
    twin = copy.deepcopy(both)
    assert twin['loss']._classifier[0] is twin['classifier']


def test_bad_arguments():
    tree = TREES[0]
    for args, kwargs, message in (
        ((), dict(num_classes=3), 'needs either a hierarchy, or num_classes and start_epoch'),
        ((), dict(start_epoch=3), 'needs either a hierarchy, or num_classes and start_epoch'),
        ((tree,), dict(start_epoch=3), 'needs either a hierarchy, or num_classes and start_epoch'),
        ((tree,), dict(num_classes=3), 'the hierarchy has 5 classes, expected 3'),
        ((tree,), dict(mode='hard'), "mode must be one of 'path', 'soft', got 'hard'"),
        ((), dict(num_classes=3, start_epoch=0, update_every=0), 'update_every must be at least 1'),
    ):
        with pytest.raises(ValueError, match=message):
            TreeSupervisionLoss(*args, **kwargs)
    with pytest.raises(ValueError, match='the hierarchy has 5 classes, got 6 logits'):
        TreeSupervisionLoss(tree)(logits(4, 6), hard())
    with pytest.raises(ValueError, match='needs steps_per_epoch, and a model with one classifier'):
        TreeSupervisionLoss(num_classes=5, start_epoch=0)(logits(), hard())
