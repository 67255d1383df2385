"""Where trees come from: the weights of a classifier, groups of classes, files of edges, our own files."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..files import name_differences, quoted
from .checks import checked_names

FORMAT = {'format': 'timm-vipriors hierarchy', 'version': 1}
Tree = tuple[list[int], Sequence[str], dict[int, str]]  # the arguments of ClassHierarchy


def parents_from_weight(weight: np.ndarray) -> list[int]:
    """The parents in a binary tree of Ward's clustering; see `ClassHierarchy.induce`."""
    from scipy.cluster.hierarchy import linkage  # here, since importing it takes a while

    rows = np.asarray(weight, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f'expected a weight (C, D) with at least 2 rows, got the shape {rows.shape}')
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (right := np.isfinite(norms) & (norms > 0)).all():
        raise ValueError(f'expected rows that are finite and not zero, got another at {right.argmin()}')
    merges = linkage(rows / norms, method='ward')
    parents = np.full(len(rows) + len(merges), -1)
    for step, pair in enumerate(merges[:, :2].astype(int)):
        parents[pair] = len(rows) + step
    return parents.tolist()


def tree_from_json(file: Path) -> Tree:
    """The tree in a file of `ClassHierarchy.save`."""
    content = json.loads(file.read_text(encoding='utf-8'))
    if {key: content.get(key) for key in FORMAT} != FORMAT:
        raise ValueError(f'expected a JSON object with {json.dumps(FORMAT)[1:-1]}')
    parents, class_names, node_names = (content.get(key) for key in ('parents', 'class_names', 'node_names'))
    return parents, checked_names(class_names or ()), {int(key): name for key, name in node_names.items()}


def tree_from_groups(groups: Mapping[str, Sequence[str]], class_names: Sequence[str] | None) -> Tree:
    """A tree of named groups; see `ClassHierarchy.from_groups`."""
    names = checked_names(groups if class_names is None else class_names)
    if differing := name_differences(names, groups):
        raise ValueError(f'the class names are not those of the groups: {differing}')
    children: dict[Hashable, list[Hashable]] = {(): []}
    for leaf, name in enumerate(names):
        path = groups[name]
        if not isinstance(path, list | tuple) or not all(isinstance(group, str) for group in path):
            raise ValueError(f'expected a list of group names for the class {name!r}, got {path!r}')
        prefixes = [tuple(path[:end]) for end in range(len(path) + 1)]
        for outer, inner in pairwise(prefixes):
            if inner not in children:
                children[inner] = []
                children[outer].append(inner)
        children[prefixes[-1]].append(leaf)
    return _contract((), children, names, {path: path[-1] for path in children if path})


def tree_from_parents(parent_of: Mapping[str, str], names: Sequence[str], join_roots: bool = False) -> Tree:
    """A tree of the classes and their ancestors, from the parent of each child; there are no cycles."""
    known = parent_of.keys() | set(parent_of.values())
    if missing := [name for name in names if name not in known]:
        raise ValueError(f'expected all classes, missing are {quoted(missing)}')
    leaves = {name: leaf for leaf, name in enumerate(names)}
    children: dict[Hashable, list[Hashable]] = {}
    roots: list[str] = []
    seen = set()
    for name, leaf in leaves.items():
        node: Hashable = leaf
        while name in parent_of and name not in seen:
            seen.add(name)
            name = parent_of[name]
            if name in leaves:
                raise ValueError(f'expected classes without classes below them, got {name!r} with some')
            children.setdefault(name, []).append(node)
            node = name
        if name not in seen:
            seen.add(name)
            roots.append(name)
    if len(roots) > 1 and not join_roots:
        raise ValueError(f'expected one root, got {quoted(roots)} (join_roots puts them under a new one)')
    children[None] = [leaves.get(root, root) for root in roots]
    return _contract(None, children, names, {key: key for key in children if key is not None})


def _contract(
    root: Hashable,
    children: Mapping[Hashable, Sequence[Hashable]],
    class_names: Sequence[str],
    names: Mapping[Hashable, str],
) -> Tree:
    """Number the nodes of a tree of keys (those of leaves are class indices), without nodes of one child."""
    found: list[tuple[Hashable, int]] = []  # inner nodes, each with its parent's place here
    leaf_of: dict[int, int] = {}
    stack = [(root, -1)]
    while stack:
        key, above = stack.pop()
        while len(below := children.get(key, ())) == 1:
            key = below[0]
        if not below:
            leaf_of[key] = above
            continue
        stack += [(child, len(found)) for child in below]
        found.append((key, above))
    last = len(class_names) + len(found) - 1  # the root's id: parents come after their children, as from Ward
    parents = [last - leaf_of[leaf] for leaf in range(len(class_names))]
    parents += [last - above if above >= 0 else -1 for _, above in reversed(found)]
    return parents, class_names, {last - i: names[key] for i, (key, _) in enumerate(found) if key in names}


def read_edges(file: Path) -> dict[str, str]:
    """The parent of each child in a file of edges without cycles."""
    parent_of: dict[str, str] = {}
    for number, line in enumerate(file.read_text(encoding='utf-8-sig').splitlines(), 1):
        ids = re.split(r'(?:^|\s)#', line)[0].split()
        if not ids:
            continue
        if len(ids) != 2:
            raise ValueError(f'line {number}: expected two ids, parent and child, got {len(ids)}')
        parent, child = ids
        if parent_of.setdefault(child, parent) != parent:
            raise ValueError(f'line {number}: {child!r} has two parents, {parent_of[child]!r} and {parent!r}')
    try:
        TopologicalSorter({child: [parent] for child, parent in parent_of.items()}).prepare()
    except CycleError as e:
        raise ValueError(f'expected a tree, got a cycle through {quoted(e.args[1][1:])}') from e
    return parent_of
