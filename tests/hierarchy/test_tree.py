"""The tree itself, and its file."""

import copy
import errno
import json
import pickle

import numpy as np
import pytest

from timm_vipriors.hierarchy import ClassHierarchy

from .trees import leaf_sets, random_parents


def test_attributes(tree):
    assert tree.parents == (4, 4, 5, 5, 5, -1)
    assert tree.class_names == ('cat', 'dog', 'car', 'bus')
    assert tree.node_names == {4: 'animal'}
    assert (tree.num_classes, tree.num_nodes, tree.root, tree.depth) == (4, 6, 5, 2)
    assert repr(tree) == 'ClassHierarchy(num_classes=4, num_nodes=6, depth=2)'
    assert ClassHierarchy([2, 2, -1]).class_names == ('0', '1')
    assert ClassHierarchy(np.array([2, 2, -1])).parents == (2, 2, -1)
    assert all(type(p) is int for p in ClassHierarchy(np.array([2, 2, -1])).parents)


@pytest.mark.parametrize('seed', range(8))
def test_random_trees_against_recursion(seed):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 60))
    parents = random_parents(rng, classes)
    tree = ClassHierarchy(parents)
    assert tree.num_classes == classes

    def path(node):
        return () if parents[node] == -1 else (node, *path(parents[node]))

    def depth(node):
        return max((1 + depth(child) for child, parent in enumerate(parents) if parent == node), default=0)

    def leaves(node):
        return sum(leaves(child) for child, parent in enumerate(parents) if parent == node) or 1

    for node in range(tree.num_nodes):
        assert tree.path(node) == path(node)
        assert tree.children(node) == tuple(child for child, parent in enumerate(parents) if parent == node)
        assert tree.leaf_counts()[node] == leaves(node)
    assert tree.depth == depth(parents.index(-1))
    assert sorted(tree.order) == list(range(tree.num_nodes))
    places = {node: place for place, node in enumerate(tree.order)}
    assert all(parents[node] == -1 or places[parents[node]] < places[node] for node in tree.order)


def test_a_chain_deeper_than_the_recursion_limit(tmp_path):
    classes = 2000
    parents = [classes, *range(classes, 2 * classes - 1), *range(classes + 1, 2 * classes - 1), -1]
    tree = ClassHierarchy(parents)
    assert tree.depth == classes - 1
    assert len(tree.path(0)) == classes - 1
    assert len(tree.text().splitlines()) == tree.num_nodes
    tree.save(tmp_path / 't.json')
    assert ClassHierarchy.load(tmp_path / 't.json') == tree


def test_reordered_by_name(tree):
    names = ['bus', 'cat', 'car', 'dog']
    other = tree.reordered(names)
    assert other.class_names == tuple(names)
    assert other.parents == (5, 4, 5, 4, 5, -1)
    assert other.node_names == tree.node_names
    assert leaf_sets(other) == leaf_sets(tree)
    assert other.reordered(tree.class_names) == tree
    numbered = ClassHierarchy([3, 3, 4, 4, -1])
    assert numbered.reordered(['2', '0', '1']).parents == (4, 3, 3, 4, -1)


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['bus', 'cat', 'car', 'cow'], "missing are 'dog', not known are 'cow'"),
        (['bus', 'cat', 'car'], "missing are 'dog'$"),
        (['bus', 'cat', 'car', 'dog', 'cow'], "not known are 'cow'$"),
        (['0', '1', '2', '3'], "missing are 'bus', 'car', 'cat', 'dog', not known are '0', '1', '2', '3'"),
        (['bus', 'cat', 'car', 'car'], "got 'car' more than once"),
    ],
)
def test_reordered_to_other_names(tree, names, message):
    with pytest.raises(ValueError, match=message):
        tree.reordered(names)


@pytest.mark.parametrize('seed', range(3))
def test_reordered_random_trees(seed):
    rng = np.random.default_rng(seed)
    tree = ClassHierarchy(random_parents(rng, 30))
    names = rng.permutation(tree.class_names).tolist()
    assert leaf_sets(tree.reordered(names)) == leaf_sets(tree)


def test_equality_and_copies(tree):
    same = ClassHierarchy(tree.parents, tree.class_names, tree.node_names)
    assert tree == same
    assert hash(tree) == hash(same)
    assert tree != ClassHierarchy(tree.parents, tree.class_names)
    assert tree != ClassHierarchy(tree.parents, ['a', 'b', 'c', 'd'], tree.node_names)
    assert tree != ClassHierarchy([5, 4, 4, 5, 5, -1], tree.class_names, tree.node_names)
    assert tree != 'tree'
    assert copy.deepcopy(tree) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree


@pytest.mark.parametrize(
    ('parents', 'names', 'message'),
    [
        ([3, 3, -1, 4, 3], None, 'cycle at or above node 0'),
        ([3, 3, 2, -1, 2], None, 'cycle at or above node 2'),
        ([2, 2, -1, -1], None, 'one root.* got 2, 3'),
        ([2, 2, 2], None, 'one root.* got none'),
        ([], None, 'one root.* got none'),
        ([3, 2, -1], None, 'parents in 0 … 2, or -1 for the root, got 3'),
        ([2, -2, -1], None, 'got -2'),
        ([3, 3, 4, 4, -1, 4], None, 'classes as nodes 0 … 3'),
        ([3, 4, 4, 4, -1], None, 'two or more children at all other nodes'),
        ([3, 3, 3, -1], ['a', 'b'], 'a name for each of 3 classes, got 2 names'),
        ([2, 2, -1], ['a', 'b', 'c'], 'a name for each of 2 classes, got 3 names'),
        ([1, -1], None, 'at least 2 classes, got 1'),
        ([-1], None, 'at least 2 classes, got 1'),
        ([2, 2, -1], ['a', 'a'], "got 'a' more than once"),
        ([2, 2, -1], ['a', 1], 'list of strings'),
        ([2, 2, -1], 'ab', 'list of strings'),
    ],
)
def test_what_is_no_tree(parents, names, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy(parents, names)


@pytest.mark.parametrize('names', [{0: 'leaf'}, {3: 'x'}, {2: 7}, {'2': 'x'}])
def test_bad_node_names(names):
    with pytest.raises(ValueError, match='names of inner nodes'):
        ClassHierarchy([2, 2, -1], node_names=names)


@pytest.mark.parametrize('seed', range(3))
def test_round_trip(tmp_path, seed):
    rng = np.random.default_rng(seed)
    parents = random_parents(rng, 20)
    tree = ClassHierarchy(parents, [f'Käse "{i}"' for i in range(20)], {parents.index(-1): 'alles'})
    tree.save(tmp_path / 'new' / 't.json')
    assert ClassHierarchy.load(tmp_path / 'new' / 't.json') == tree
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['t.json']


def test_file_format(tree, tmp_path):
    tree.save(tmp_path / 't.json')
    assert json.loads((tmp_path / 't.json').read_text()) == {
        'format': 'timm-vipriors hierarchy',
        'version': 1,
        'parents': [4, 4, 5, 5, 5, -1],
        'class_names': ['cat', 'dog', 'car', 'bus'],
        'node_names': {'4': 'animal'},
    }


def test_a_failed_save_leaves_the_old_file(tree, tmp_path, monkeypatch):
    path = tmp_path / 't.json'
    tree.save(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'disk full')

    monkeypatch.setattr(type(path), 'write_text', fail)
    with pytest.raises(OSError, match='disk full'):
        ClassHierarchy([2, 2, -1]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(format='x'), '"format": "timm-vipriors hierarchy", "version": 1'),
        (dict(version=2), '"version": 1'),
        (dict(parents=None), 'NoneType'),
        (dict(parents=[2, 2.0, -1]), "'float' object"),
        (dict(class_names='ab'), 'class names as a list of strings'),
        (dict(class_names=None), 'at least 2 classes, got 0'),
        (dict(node_names=['x']), "no attribute 'items'"),
        (dict(node_names={'2.0': 'x'}), 'invalid literal'),
        (dict(node_names={'9': 'x'}), 'names of inner nodes'),
        (dict(node_names={'2': 1}), 'names of inner nodes'),
    ],
)
def test_files_with_wrong_content(tmp_path, change, message):
    content = {'format': 'timm-vipriors hierarchy', 'version': 1, 'parents': [2, 2, -1]}
    content |= {'class_names': ['a', 'b'], 'node_names': {'2': 'x'}}
    path = tmp_path / 't.json'
    path.write_text(json.dumps(content))
    assert ClassHierarchy.load(path).node_names == {2: 'x'}
    path.write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=rf't\.json is not a hierarchy: .*{message}'):
        ClassHierarchy.load(path)


@pytest.mark.parametrize('content', [b'', b'{', b'\xff\xfe', b'[1]', b'null', b'[' * 200_000], ids=repr)
def test_files_that_are_something_else(tmp_path, content):
    (tmp_path / 't.json').write_bytes(content)
    with pytest.raises(ValueError, match=r't\.json is not a hierarchy'):
        ClassHierarchy.load(tmp_path / 't.json')
