import argparse
import builtins
import copy
import itertools
import json
import pickle

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.cluster.hierarchy import linkage
from timm.utils import CheckpointSaver

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy


def random_parents(rng: np.random.Generator, classes: int, most: int = 5) -> list[int]:
    """A tree of random arity: random nodes without a parent are joined until one is left; inner ids are shuffled."""
    free, joins = list(range(classes)), []
    while len(free) > 1:
        size = min(len(free), int(rng.integers(2, most + 1)))
        chosen = [free.pop(int(rng.integers(len(free)))) for _ in range(size)]
        free.append(classes + len(joins))
        joins.append(chosen)
    renamed = [*range(classes), *(classes + rng.permutation(len(joins))).tolist()]
    parents = [-1] * len(renamed)
    for i, chosen in enumerate(joins):
        for node in chosen:
            parents[renamed[node]] = renamed[classes + i]
    return parents


def leaf_sets(tree: ClassHierarchy) -> set[frozenset[str]]:
    """What a tree is, whatever the ids of its inner nodes: the classes below each of them."""

    def names(node):
        if node < tree.num_classes:
            return frozenset([tree.class_names[node]])
        return frozenset().union(*map(names, tree.children(node)))

    return {names(node) for node in range(tree.num_classes, tree.num_nodes)}


def sets(*groups: str) -> set[frozenset[str]]:
    return {frozenset(group.split()) for group in groups}


@pytest.fixture
def tree() -> ClassHierarchy:
    return ClassHierarchy([4, 4, 5, 5, 5, -1], ['cat', 'dog', 'car', 'bus'], {4: 'animal'})


# the tree itself


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

    for leaf in range(classes):
        assert tree.path(leaf) == path(leaf)
        assert tree.root not in tree.path(leaf)
    for node in range(tree.num_nodes):
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
        ([3, 2, -1], None, 'parent in 0 … 2, or -1 for the root, got 3 at node 0'),
        ([2, -2, -1], None, 'got -2 at node 1'),
        ([2, 2.0, -1], None, 'got 2.0 at node 1'),
        ([2, True, -1], None, 'got True at node 1'),
        ([2, '2', -1], None, "got '2' at node 1"),
        ([3, 3, 4, 4, -1, 4], None, 'at least 2 at all others, got 0 at node 5'),
        ([3, 4, 4, 4, -1], None, 'at least 2 at all others, got 1 at node 3'),
        ([3, 3, 3, -1], ['a', 'b'], '0 … 1, the classes.* got 0 at node 2'),
        ([3, 3, 4, 4, -1], ['a', 'b', 'c', 'd'], '0 … 3, the classes.* got 2 at node 3'),
        ([2, 2, -1], ['a', 'b', 'c'], 'a name for each class, got 3 for a tree of 3 nodes'),
        ([-1], ['a', 'b'], 'a name for each class, got 2 for a tree of 1 nodes'),
        ([1, -1], None, 'at least 2 classes, got 1'),
        ([-1], None, 'at least 2 classes, got 1'),
        ([2, 2, -1], ['a', 'a'], "twice there are 'a'"),
        ([2, 2, -1], ['a', 1], 'list of strings'),
        ([2, 2, -1], 'ab', 'list of strings'),
    ],
)
def test_what_is_no_tree(parents, names, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy(parents, names)


@pytest.mark.parametrize('names', [{0: 'leaf'}, {3: 'x'}, {2: 7}, {'2': 'x'}, {2.0: 'x'}])
def test_bad_node_names(names):
    with pytest.raises(ValueError, match='names of inner nodes'):
        ClassHierarchy([2, 2, -1], node_names=names)


@pytest.mark.parametrize('node', [-1, 6])
def test_nodes_that_are_none(tree, node):
    with pytest.raises(ValueError, match=f'a node in 0 … 5, got {node}'):
        tree.children(node)


@pytest.mark.parametrize('leaf', [-1, 4])
def test_leaves_that_are_none(tree, leaf):
    with pytest.raises(ValueError, match=f'a leaf in 0 … 3, got {leaf}'):
        tree.path(leaf)


# induced from weights


def test_induce_on_a_known_tree():
    # two pairs of close directions, a fifth one closer to the second pair; lengths must not matter
    angles = np.deg2rad([0, 5, 90, 96, 120])
    weight = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1], [50], [0.01], [3], [7]])
    tree = ClassHierarchy.induce(weight, list('abcde'))
    assert leaf_sets(tree) == sets('a b', 'c d', 'c d e', 'a b c d e')
    assert tree.class_names == tuple('abcde')
    assert leaf_sets(ClassHierarchy.induce(weight * np.array([[1], [1], [1e180], [1e-180], [1]]))) == sets(
        '0 1', '2 3', '2 3 4', '0 1 2 3 4'
    )


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
        (torch.ones(3, 2, 1), r'shape \(3, 2, 1\)'),
        (torch.ones(1, 2), r'at least 2 rows.*shape \(1, 2\)'),
        (torch.ones(3, 0), r'shape \(3, 0\)'),
        (torch.tensor([[1.0, 2.0], [3.0, float('nan')]]), 'finite weights, got others in row 1'),
        (torch.tensor([[float('inf'), 2.0], [3.0, 1.0]]), 'finite weights, got others in row 0'),
        (torch.tensor([[1.0, 2.0], [0.0, 0.0]]), 'row 1 is all zeros'),
    ],
)
def test_weights_without_a_tree(weight, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.induce(weight)


def test_induce_with_wrong_names():
    with pytest.raises(ValueError, match='got 2 at node 4'):
        ClassHierarchy.induce(torch.eye(4), list('abcde'))


# from checkpoints


@pytest.fixture(scope='module')
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model('test_dsk_resnext', num_classes=7)


def test_training_checkpoint_and_its_average(model, tmp_path):
    ema = copy.deepcopy(model)
    torch.nn.init.normal_(ema.fc.weight)
    args = argparse.Namespace(model='test_dsk_resnext', num_classes=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    saver = CheckpointSaver(model, optimizer, args, checkpoint_dir=str(tmp_path), unwrap_fn=lambda m: m)
    saver.save_checkpoint(0)
    path = tmp_path / 'last.pth.tar'
    expected = ClassHierarchy.induce(model.fc.weight)
    assert ClassHierarchy.from_checkpoint(path) == expected
    assert ClassHierarchy.from_checkpoint(str(path), list('abcdefg')).class_names == tuple('abcdefg')
    with pytest.raises(ValueError, match='no averaged weights'):
        ClassHierarchy.from_checkpoint(path, use_ema=True)

    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, 'state_dict_ema': ema.state_dict()}, path)
    averaged = ClassHierarchy.induce(ema.fc.weight)
    assert averaged != expected
    assert ClassHierarchy.from_checkpoint(path) == expected
    assert ClassHierarchy.from_checkpoint(path, use_ema=True) == averaged


def test_bare_state_dicts(model, tmp_path):
    expected = ClassHierarchy.induce(model.fc.weight)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    torch.save({f'module.{k}': v for k, v in model.state_dict().items()}, tmp_path / 'b.pth')
    save_file(model.state_dict(), tmp_path / 'c.safetensors')
    for name in ('a.pth', 'b.pth', 'c.safetensors'):
        assert ClassHierarchy.from_checkpoint(tmp_path / name) == expected


class Harmful:
    def __reduce__(self):
        return print, ('code from a checkpoint was run',)


@pytest.mark.parametrize('name', ['m.pth', 'm.safetensors'])
def test_no_checkpoint(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b'nonsense')
    with pytest.raises(ValueError, match='is not a checkpoint'):
        ClassHierarchy.from_checkpoint(tmp_path / name)
    torch.save({'state_dict': {'fc.weight': torch.ones(2, 2)}, 'x': Harmful()}, tmp_path / name)
    with pytest.raises(ValueError, match='is not a checkpoint'):
        ClassHierarchy.from_checkpoint(tmp_path / name)
    assert capsys.readouterr().out == ''
    with pytest.raises(FileNotFoundError):
        ClassHierarchy.from_checkpoint(tmp_path / f'no-{name}')


# from groups

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
        ({'a': [], 'b': []}, ['a', 'c'], "they differ in 'b', 'c'"),
        ({'a': [], 'b': []}, ['a', 'a'], "twice there are 'a'"),
        ({'a': []}, None, 'at least 2 classes, got 1'),
        ({}, None, 'at least 2 classes, got 0'),
        ({'a': 'x', 'b': 'x'}, None, "list of group names for the class 'a', got 'x'"),
        ({'a': ['x'], 'b': [1]}, None, r"list of group names for the class 'b', got \[1\]"),
    ],
)
def test_bad_groups(groups, names, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.from_groups(groups, names)


# from edges

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
        ('x a\nx b\np q\nq p\n', 'a b', "cycle through 'q'"),
        ('b a\na b\n', 'a b', "cycle through 'a'"),
        ('a a\nx b\n', 'a b', "cycle through 'a'"),
        ('x a\nx b\n', 'a b c d', "missing are 'c', 'd'"),
        ('', 'a b', "missing are 'a', 'b'"),
        ('x a\n\nx b c\n', 'a b', 'line 3: expected two ids, parent and child, got 3'),
        ('x\n', 'a b', 'line 1: expected two ids, parent and child, got 1'),
        ('x a\na b\nx c\n', 'a b c', "classes without classes below them, got 'a'"),
        ('x a\na b\nx c\n', 'b a c', "classes without classes below them, got 'a'"),
        ('x a\nx b\n', 'a a', "twice there are 'a'"),
        ('x a\nx b\n', 'a', 'at least 2 classes'),
    ],
)
def test_bad_edges(edges, text, names, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.from_parent_child(edges(text), names.split(), join_roots=True)


# files


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
        raise OSError('disk full')

    monkeypatch.setattr(type(path), 'write_text', fail)
    with pytest.raises(OSError, match='disk full'):
        ClassHierarchy([2, 2, -1]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(format='x'), '"format": "timm-vipriors hierarchy"'),
        (dict(version=2), 'version 1, got 2'),
        (dict(version=True), 'version 1, got True'),
        (dict(version=1.0), 'version 1, got 1.0'),
        (dict(parents=[2, 2.0, -1]), 'parents as a list of whole numbers'),
        (dict(parents=[2, True, -1]), 'parents as a list of whole numbers'),
        (dict(parents={'0': 2}), 'parents as a list of whole numbers'),
        (dict(parents=None), 'parents as a list of whole numbers'),
        (dict(parents=[2, 9, -1]), 'got 9 at node 1'),
        (dict(class_names='ab'), 'class_names as a list'),
        (dict(class_names=['a', 1]), 'class names as a list of strings'),
        (dict(class_names=['a', 'a']), "twice there are 'a'"),
        (dict(node_names=['x']), 'node_names as an object'),
        (dict(node_names={'02': 'x'}), 'node_names as an object'),
        (dict(node_names={'2.0': 'x'}), 'node_names as an object'),
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


# to look at


def test_text(tree):
    assert tree.text().splitlines() == [
        '┬ 4 classes',
        '├── car',
        '├── bus',
        '└─┬ animal (2 classes)',
        '  ├── cat',
        '  └── dog',
    ]
    assert tree.text(max_lines=6) == tree.text()
    assert tree.text(max_lines=3).splitlines() == ['┬ 4 classes', '├── car', '… 4 more lines']
    assert tree.text(max_lines=1) == '… 6 more lines'
    with pytest.raises(ValueError, match='at least 1, got 0'):
        tree.text(max_lines=0)
    assert ClassHierarchy([2, 2, -1], ['a\nb', '\x1b[1m']).text().splitlines()[1:] == ['├── a\\nb', '└── \\x1b[1m']


def test_text_shows_every_node_below_its_parent():
    tree = ClassHierarchy(random_parents(np.random.default_rng(3), 30))
    for line, node in zip(tree.text().splitlines(), tree.order, strict=True):
        depth = len(tree.path(node)) if node < tree.num_classes else 0
        while node >= tree.num_classes and tree.parents[node] != -1:
            node, depth = tree.parents[node], depth + 1
        assert len(line) - len(line.lstrip('│├└─┬ ')) == 2 * depth + 2


def picture(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == 'PNG'
        return np.asarray(image.convert('L'), dtype=float)


def test_pictures(tmp_path):
    pytest.importorskip('matplotlib')
    rng = np.random.default_rng(0)
    heights = []
    for classes in (3, 30, 160):  # the last one as a circle
        tree = ClassHierarchy(random_parents(rng, classes), [f'class ${i}$' for i in range(classes)])
        tree.draw(tmp_path / 'p' / 't.png')
        pixels = picture(tmp_path / 'p' / 't.png')
        assert pixels.var() > 0
        heights.append(len(pixels))
        assert list((tmp_path / 'p').iterdir()) == [tmp_path / 'p' / 't.png']
    assert heights == sorted(heights)
    assert heights[1] > 5 * heights[0]


def test_pictures_say_the_names(tmp_path):
    pytest.importorskip('matplotlib')
    from timm_vipriors.hierarchy.drawing import tree_figure

    for classes in (10, 160):
        names = [f'class {i}' for i in range(classes)]
        tree = ClassHierarchy(random_parents(np.random.default_rng(1), classes, most=3), names)
        tree = ClassHierarchy(tree.parents, tree.class_names, {tree.parents[0]: 'a group', tree.root: 'x' * 60})
        axes = tree_figure(tree).axes[0]
        shown = [text.get_text() for text in axes.texts]
        assert sorted(shown) == sorted([*names, 'a group', 'x' * 39 + '…'])
        places = {text.get_text(): text.get_position() for text in axes.texts}
        gaps = [np.subtract(places[a], places[b]) for a, b in itertools.combinations(names, 2)]
        assert min(np.linalg.norm(gap) for gap in gaps) > 0.12  # inches, more than 7 points
        assert len(axes.collections[0].get_segments()) == 2 * tree.num_nodes - 1 - classes
        assert len({tuple(color) for color in axes.collections[0].get_colors().tolist()}) > 2


def test_pictures_of_other_formats(tree, tmp_path):
    pytest.importorskip('matplotlib')
    tree.draw(tmp_path / 't.svg')
    assert '<svg' in (tmp_path / 't.svg').read_text()
    tree.draw(tmp_path / 'plain')
    picture(tmp_path / 'plain')
    with pytest.raises(ValueError, match='nonsense'):
        tree.draw(tmp_path / 't.nonsense')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['plain', 't.svg']


@pytest.fixture
def no_matplotlib(monkeypatch):
    real = builtins.__import__

    def fail(name, *args, **kwargs):
        if name.startswith('matplotlib'):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', fail)


def test_without_matplotlib(tree, tmp_path, no_matplotlib):
    with pytest.raises(ImportError, match=r"pip install 'timm-vipriors\[plot\]'"):
        tree.draw(tmp_path / 't.png')
    assert list(tmp_path.iterdir()) == []


# the command


@pytest.fixture
def checkpoint(model, tmp_path):
    torch.save({'state_dict': model.state_dict(), 'arch': 'test_dsk_resnext'}, tmp_path / 'm.pth')
    return tmp_path / 'm.pth'


def fails(capsys, *argv) -> str:
    assert main(['hierarchy', *map(str, argv)]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors hierarchy: error: ')
    assert err.count('\n') == 1
    return err


def test_induce_and_show(checkpoint, model, tmp_path, capsys):
    out = tmp_path / 'tree.json'
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out)]) == 0
    tree = ClassHierarchy.load(out)
    assert capsys.readouterr().out == f'{out}: 7 classes, 13 nodes, depth {tree.depth}\n'
    assert tree == ClassHierarchy.induce(model.fc.weight)
    assert main(['hierarchy', 'show', str(out)]) == 0
    assert capsys.readouterr().out == tree.text() + '\n'


def test_class_names_from_a_file_or_a_folder(checkpoint, tmp_path, capsys):
    out, names = tmp_path / 'tree.json', tmp_path / 'names.txt'
    names.write_text('\ufeffeins\nzwei\ndrei\n\nvier \nfünf\nsechs\nsieben\n', encoding='utf-8')
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--classes', str(names)]) == 0
    assert ClassHierarchy.load(out).class_names == ('eins', 'zwei', 'drei', 'vier', 'fünf', 'sechs', 'sieben')

    sorted_by_timm = ('c1', 'c2', 'c3', 'c10', 'c11', 'c20', 'c100')
    for name in sorted_by_timm:
        (tmp_path / 'data' / 'train' / name).mkdir(parents=True)
        Image.new('L', (2, 2)).save(tmp_path / 'data' / 'train' / name / 'i.png')
    for folder in ('data', 'data/train'):
        argv = ['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--force', '--classes', str(tmp_path / folder)]
        assert main(argv) == 0
        assert ClassHierarchy.load(out).class_names == sorted_by_timm

    names.write_text('a\nb\n')
    assert 'got 0 at node 2' in fails(capsys, 'induce', checkpoint, '-o', out, '--force', '--classes', names)
    (tmp_path / 'empty').mkdir()
    assert 'no images' in fails(capsys, 'induce', checkpoint, '-o', out, '--force', '--classes', tmp_path / 'empty')


def test_use_ema(checkpoint, model, tmp_path, capsys):
    out = tmp_path / 'tree.json'
    assert 'no averaged weights' in fails(capsys, 'induce', checkpoint, '-o', out, '--use-ema')
    assert not out.exists()
    averaged = {'fc.weight': torch.eye(7)[:, :3] + torch.arange(7)[:, None]}
    torch.save({'state_dict': model.state_dict(), 'state_dict_ema': averaged}, checkpoint)
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--use-ema']) == 0
    assert ClassHierarchy.load(out) == ClassHierarchy.induce(averaged['fc.weight'])


def test_nothing_is_overwritten_without_force(checkpoint, tree, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    out, png = tmp_path / 'tree.json', tmp_path / 'tree.png'
    out.write_text('precious')
    assert '--force' in fails(capsys, 'induce', checkpoint, '-o', out)
    assert out.read_text() == 'precious'
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--force']) == 0

    png.write_text('precious')
    assert '--force' in fails(capsys, 'show', out, '--png', png)
    assert png.read_text() == 'precious'
    assert main(['hierarchy', 'show', str(out), '--png', str(png), '--force']) == 0
    assert picture(png).var() > 0


def test_mistakes_are_one_sentence(tmp_path, tree, capsys):
    nothing, out = tmp_path / 'nothing', tmp_path / 'o.json'
    assert 'nothing' in fails(capsys, 'induce', nothing, '-o', out)
    assert 'nothing' in fails(capsys, 'show', nothing)
    nothing.write_text('nothing')
    assert 'is not a checkpoint' in fails(capsys, 'induce', nothing, '-o', out)
    assert 'is not a hierarchy' in fails(capsys, 'show', nothing)
    assert not out.exists()


def test_show_without_matplotlib(tmp_path, tree, capsys, no_matplotlib):
    tree.save(tmp_path / 't.json')
    assert "'timm-vipriors[plot]'" in fails(capsys, 'show', tmp_path / 't.json', '--png', tmp_path / 't.png')


@pytest.mark.parametrize(
    ('action', 'words'), [((), 'examples: induce show'), (('induce',), 'examples: --use-ema numbered')]
)
def test_help(action, words, capsys):
    with pytest.raises(SystemExit) as e:
        main(['hierarchy', *action, '--help'])
    assert e.value.code == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words.split())
