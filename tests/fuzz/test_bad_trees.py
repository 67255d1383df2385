"""Hierarchies from anyone: a file or edges are a tree by an independent check, or refused."""

import copy
import itertools
import json
import random

from timm_vipriors.hierarchy import ClassHierarchy

from .cases import ACCEPTED, REFUSED, at_scale, attempt, damaged, run_cases

_ODD = [None, -2, 0, 1, 10**30, 0.5, '', 'x', '\ud800', '<b>', [], {}, [[]], {'0': 'x'}, 'a' * 10_000]


def _random_tree(rng: random.Random, leaves: int) -> tuple[list[int], list[str]]:
    """A tree by joining random nodes until one is left."""
    parents, free = [-1] * leaves, list(range(leaves))
    while len(free) > 1:
        rng.shuffle(free)
        number = rng.randint(2, min(4, len(free)))
        for node in free[:number]:
            parents[node] = len(parents)
        free = [*free[number:], len(parents)]
        parents.append(-1)
    return parents, [f'class {i}' for i in range(leaves)]


def _is_tree(parents: object, names: object, node_names: object) -> bool:
    """By walking up from each node: the rule as the class's docstring has it."""
    if not (isinstance(parents, list) and all(type(p) is int and -1 <= p < len(parents) for p in parents)):
        return False
    if not (isinstance(names, list) and all(isinstance(n, str) for n in names) and len(set(names)) == len(names) >= 2):
        return False
    if parents.count(-1) != 1 or len(names) >= len(parents):
        return False
    for node in range(len(parents)):
        steps = 0
        while parents[node] != -1:
            node, steps = parents[node], steps + 1
            if steps > len(parents):
                return False
    below = [parents.count(node) for node in range(len(parents))]
    if any(below[: len(names)]) or any(number < 2 for number in below[len(names) :]):
        return False
    if not isinstance(node_names, dict):
        return False
    inner = range(len(names), len(parents))
    return all(key.isdecimal() and int(key) in inner and isinstance(name, str) for key, name in node_names.items())


def _change(rng: random.Random, content: dict) -> None:
    """Change one thing of a file's content in place."""
    odd = copy.deepcopy(_ODD)
    key = rng.choice(['parents', 'parents', 'parents', 'class_names', 'node_names', 'format', 'version', 'whole'])
    value = content.get(key)
    if key == 'whole':
        content[rng.choice([*content, 'more'])] = rng.choice(odd)
    elif isinstance(value, list) and value and rng.random() < 0.9:
        i = rng.randrange(len(value))
        how = rng.choice(['other', 'odd', 'gone', 'twice', 'swap'])
        if how == 'other' and key == 'parents':
            value[i] = rng.randrange(-1, len(value))
        elif how == 'odd':
            value[i] = rng.choice(odd)
        elif how == 'gone':
            del value[i]
        elif how == 'twice':
            value.append(value[i])
        else:
            j = rng.randrange(len(value))
            value[i], value[j] = value[j], value[i]
    elif isinstance(value, dict):
        value[rng.choice(['0', '-1', 'x', '١', '007', '2', '5'])] = rng.choice(odd)
    else:
        content[key] = rng.choice(odd)


@at_scale(120, 3000)
def test_changed_files(number, tmp_path):
    path = tmp_path / 'tree.json'

    def check(rng) -> str:
        parents, names = _random_tree(rng, rng.randint(2, 8))
        content = {
            'format': 'timm-vipriors hierarchy',
            'version': 1,
            'parents': parents,
            'class_names': names,
            'node_names': {str(len(parents) - 1): 'all'} if rng.random() < 0.5 else {},
        }
        for _ in range(rng.randrange(3)):
            _change(rng, content)
        text = json.dumps(content).encode()
        path.write_bytes(damaged(rng, text) if rng.random() < 0.3 else text)
        tree, sentence = attempt(lambda: ClassHierarchy.load(path), str(path))
        try:
            there = json.loads(path.read_text(encoding='utf-8'))
        except (ValueError, RecursionError):
            there = None
        right = isinstance(there, dict) and there.get('version') == 1
        right = right and there.get('format') == 'timm-vipriors hierarchy'
        right = right and _is_tree(*(there.get(key) for key in ('parents', 'class_names', 'node_names')))
        assert right == (sentence is None), sentence or there
        if sentence is not None:
            return REFUSED
        assert [list(tree.parents), list(tree.class_names)] == [there['parents'], there['class_names']]
        assert tree.node_names == {int(node): name for node, name in there['node_names'].items()}
        assert len(tree.text().splitlines()) == tree.num_nodes
        return ACCEPTED

    outcomes = run_cases('hierarchy files', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > number / 10


@at_scale(40, 1000)
def test_files_of_edges(number, tmp_path):
    """The named nodes above a class are those of the file with two branches or more that lead to classes."""
    path = tmp_path / 'edges.txt'

    def check(rng) -> str:
        nodes = [f'n{i}' for i in range(rng.randint(3, 12))]
        lines = [
            f'{nodes[rng.randrange(i) if rng.random() < 0.97 else rng.randrange(len(nodes))]} {nodes[i]}'
            for i in range(1, len(nodes))
        ]
        classes = rng.sample(nodes, rng.randint(2, min(5, len(nodes))))
        rng.shuffle(lines)
        if rng.random() < 0.3:
            lines.insert(0, rng.choice(['# words', '', 'one', 'a b c', '\ufeff', 'n1 n1', 'x\0 y', '\u2028']))
        content = '\n'.join(lines).encode()
        path.write_bytes(damaged(rng, content) if rng.random() < 0.2 else content)
        join = rng.random() < 0.5
        tree, sentence = attempt(lambda: ClassHierarchy.from_parent_child(path, classes, join))
        if sentence is not None:
            return REFUSED
        parent_of = {}
        for line in path.read_text(encoding='utf-8-sig').splitlines():
            words = line.split()
            if words and not line.lstrip().startswith('#'):
                words = words[: next((i for i, word in enumerate(words) if word.startswith('#')), None)]
                parent_of[words[1]] = words[0]

        def above(name: str) -> list[str]:
            found = []
            while name in parent_of:
                name = parent_of[name]
                found.append(name)
            return found

        paths = {name: [name, *above(name)] for name in classes}
        branches: dict[str, set[str]] = {}
        for steps in paths.values():
            for child, parent in itertools.pairwise(steps):
                branches.setdefault(parent, set()).add(child)
        for leaf, name in enumerate(classes):
            expected = [node for node in paths[name][1:] if len(branches[node]) >= 2]
            named = [*tree.path(leaf)[1:], tree.root]
            assert [tree.node_names[node] for node in named if node in tree.node_names] == expected
        return ACCEPTED

    outcomes = run_cases('files of edges', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0
