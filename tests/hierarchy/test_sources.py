"""Where trees come from: weights, groups and edges."""

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import linkage

from timm_vipriors.hierarchy import ClassHierarchy

from .trees import leaf_sets, random_parents, sets


def test_induce_on_a_known_tree():
    # two pairs of close directions, a fifth one closer to the second pair; lengths must not matter
    angles = np.deg2rad([0, 5, 90, 96, 120])
    weight = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1], [50], [0.01], [3], [7]])
    tree = ClassHierarchy.induce(weight, list('abcde'))
    assert leaf_sets(tree) == sets('a b', 'c d', 'c d e', 'a b c d e')
    assert tree.class_names == tuple('abcde')


@pytest.mark.parametrize('classes', [2, 3, 40])
def test_induce_against_scipy(classes):
    weight = torch.randn(classes, 16, generator=torch.Generator().manual_seed(classes))
    tree = ClassHierarchy.induce(weight)
    rows = weight.double().numpy()
    merges = linkage(rows / np.sqrt((rows**2).sum(1, keepdims=True)), 'ward')
    assert (tree.num_nodes, tree.root) == (2 * classes - 1, 2 * classes - 2)
    for step, (first, second, *_) in enumerate(merges):
        assert set(tree.children(classes + step)) == {int(first), int(second)}
    assert tree == ClassHierarchy.induce(weight.numpy())
    assert tree == ClassHierarchy.induce(torch.nn.Parameter(weight))


def test_induce_of_half_precision():
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert ClassHierarchy.induce(weight) == ClassHierarchy.induce(weight.float())


@pytest.mark.parametrize(
    ('weight', 'message'),
    [
        (torch.ones(3), r'shape \(3,\)'),
        (torch.ones(1, 2), r'at least 2 rows.*shape \(1, 2\)'),
        (torch.tensor([[1.0, 2.0], [3.0, float('nan')]]), 'finite and not zero, got another at 1'),
        (torch.tensor([[float('inf'), 2.0], [3.0, 1.0]]), 'finite and not zero, got another at 0'),
        (torch.tensor([[1.0, 2.0], [0.0, 0.0]]), 'finite and not zero, got another at 1'),
    ],
)
def test_weights_without_a_tree(weight, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.induce(weight)


def test_induce_with_wrong_names():
    with pytest.raises(ValueError, match='each of 4 classes, got 5 names'):
        ClassHierarchy.induce(torch.eye(4), list('abcde'))


GROUPS = {
    'cat': ['animal', 'mammal'],
    'car': ['thing', 'small'],
    'dog': ['animal', 'mammal'],
    'eel': ['animal', 'small'],
    'cod': ['animal', 'small'],
    'hut': ['thing'],
    'sky': [],
}


def test_groups():
    tree = ClassHierarchy.from_groups(GROUPS)
    assert tree.class_names == tuple(GROUPS)
    assert leaf_sets(tree) == sets('cat dog', 'eel cod', 'cat dog eel cod', 'car hut', 'cat car dog eel cod hut sky')
    below = {tree.node_names.get(node): len(tree.children(node)) for node in range(7, tree.num_nodes)}
    assert below == {'mammal': 2, 'small': 2, 'animal': 2, 'thing': 2, None: 3}  # a thing that is small was alone
    assert None not in tree.node_names.values()


def test_same_names_in_different_groups_are_different_groups():
    tree = ClassHierarchy.from_groups({'a': ['x', 'z'], 'b': ['x', 'z'], 'c': ['y', 'z'], 'd': ['y', 'z']})
    assert leaf_sets(tree) == sets('a b', 'c d', 'a b c d')
    assert sorted(tree.node_names.values()) == ['z', 'z']


def test_a_group_around_everything_is_the_root():
    tree = ClassHierarchy.from_groups({'a': ['all', 'every', 'x'], 'b': ['all', 'every', 'x'], 'c': ['all', 'every']})
    assert leaf_sets(tree) == sets('a b', 'a b c')
    assert tree.node_names == {3: 'x', 4: 'every'}
    assert tree.root == 4


def test_groups_in_another_order():
    names = sorted(GROUPS)
    tree = ClassHierarchy.from_groups(GROUPS, names)
    assert tree.class_names == tuple(names)
    assert leaf_sets(tree) == leaf_sets(ClassHierarchy.from_groups(GROUPS))


@pytest.mark.parametrize(
    ('groups', 'names', 'message'),
    [
        ({'a': [], 'b': []}, ['a', 'c'], "not those of the groups: missing are 'b', not known are 'c'"),
        ({'a': [], 'b': []}, ['a', 'a'], "got 'a' more than once"),
        ({'a': []}, None, 'at least 2 classes, got 1'),
        ({}, None, 'at least 2 classes, got 0'),
        ({'a': 'x', 'b': 'x'}, None, "list of group names for the class 'a', got 'x'"),
        ({'a': ['x'], 'b': [1]}, None, r"list of group names for the class 'b', got \[1\]"),
    ],
)
def test_bad_groups(groups, names, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.from_groups(groups, names)


EDGES = """# parent child
entity animal
entity thing

animal mammal  # with a remark
mammal cat
mammal\tdog
animal fish
fish eel
thing chair
cat siamese
entity nothing
"""


@pytest.fixture
def edges(tmp_path):
    def write(text):
        path = tmp_path / 'edges.txt'
        path.write_text(text)
        return path

    return write


def test_parent_child(edges):
    tree = ClassHierarchy.from_parent_child(edges(EDGES), ['dog', 'chair', 'cat', 'eel'])
    assert tree.class_names == ('dog', 'chair', 'cat', 'eel')
    assert leaf_sets(tree) == sets('dog cat', 'dog cat eel', 'dog cat eel chair')
    assert sorted(tree.node_names.values()) == ['animal', 'entity', 'mammal']
    tree = ClassHierarchy.from_parent_child(edges(EDGES), ['dog', 'cat'])
    assert (tree.parents, tree.node_names) == ((2, 2, -1), {2: 'mammal'})


def test_an_edge_may_be_written_twice(edges):
    assert ClassHierarchy.from_parent_child(edges('x a\nx b\nx a\n'), ['a', 'b']).parents == (2, 2, -1)


def test_several_roots(edges):
    path = edges('x a\nx b\ny c\ny d\nz e\n')
    names = list('abcde')
    with pytest.raises(ValueError, match=r"one root, got 'x', 'y', 'z' \(join_roots"):
        ClassHierarchy.from_parent_child(path, names)
    tree = ClassHierarchy.from_parent_child(path, names, join_roots=True)
    assert leaf_sets(tree) == sets('a b', 'c d', 'a b c d e')
    assert sorted(tree.node_names.values()) == ['x', 'y']
    assert ClassHierarchy.from_parent_child(path, ['a', 'b']).num_nodes == 3  # the other trees have no class
    many = edges(''.join(f'r{i} c{i}\n' for i in range(8)))
    with pytest.raises(ValueError, match="'r4' and 3 more"):
        ClassHierarchy.from_parent_child(many, [f'c{i}' for i in range(8)])


@pytest.mark.parametrize('seed', range(4))
def test_edges_of_a_random_tree(edges, seed):
    rng = np.random.default_rng(seed)
    parents = random_parents(rng, 30)
    lines = [f'{parent} {child}\n' for child, parent in enumerate(parents) if parent != -1]
    tree = ClassHierarchy.from_parent_child(edges(''.join(rng.permutation(lines))), [str(i) for i in range(30)])
    assert leaf_sets(tree) == leaf_sets(ClassHierarchy(parents))
    assert all(name == str(parents.index(-1)) for node, name in tree.node_names.items() if node == tree.root)


@pytest.mark.parametrize(
    ('text', 'names', 'message'),
    [
        ('x a\nx b\ny a\n', 'a b', "line 3: 'a' has two parents, 'x' and 'y'"),
        ('x a\nx b\np q\nq p\n', 'a b', "cycle through 'p', 'q'"),
        ('b a\na b\n', 'a b', "cycle through '[ab]', '[ab]'"),
        ('a a\nx b\n', 'a b', "cycle through 'a'"),
        ('x a\nx b\n', 'a b c d', "missing are 'c', 'd'"),
        ('', 'a b', "missing are 'a', 'b'"),
        ('x a\n\nx b c\n', 'a b', 'line 3: expected two ids, parent and child, got 3'),
        ('x\n', 'a b', 'line 1: expected two ids, parent and child, got 1'),
        ('x a\na b\nx c\n', 'a b c', "classes without classes below them, got 'a'"),
        ('x a\na b\nx c\n', 'b a c', "classes without classes below them, got 'a'"),
        ('x a\nx b\n', 'a a', "got 'a' more than once"),
        ('x a\nx b\n', 'a', 'at least 2 classes'),
    ],
)
def test_bad_edges(edges, text, names, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.from_parent_child(edges(text), names.split(), join_roots=True)
