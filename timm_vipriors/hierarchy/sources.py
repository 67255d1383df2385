"""Where trees come from: the weights of a classifier, groups of classes, edges."""

import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import torch

from ..files import quoted, repeated

Tree = tuple[list[int], Sequence[str], dict[int, str]]  # the arguments of ClassHierarchy


def checked_names(class_names: Iterable[str]) -> tuple[str, ...]:
    """The names of at least two classes, each a string of its own, or a ValueError."""
    names = tuple(class_names)
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'expected class names as a list of strings, got {class_names!r}')
    if len(names) < 2:
        raise ValueError(f'expected at least 2 classes, got {len(names)}')
    if twice := repeated(names):
        raise ValueError(f'expected a different name for each class, got {quoted(twice)} more than once')
    return names


def parents_from_weight(rows: torch.Tensor) -> list[int]:
    """The parents in a binary tree of Ward's clustering; see `ClassHierarchy.induce`."""
    from scipy.cluster.hierarchy import linkage  # here, since importing it takes a while

    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f'expected a weight (C, D) with at least 2 rows, got the shape {tuple(rows.shape)}')
    norms = rows.norm(dim=1, keepdim=True)
    if not (right := norms.isfinite() & (norms > 0)).all():
        raise ValueError(f'expected rows that are finite and not zero, got another at {int(right.int().argmin())}')
    parents = torch.full((2 * len(rows) - 1,), -1)
    for step, pair in enumerate(linkage((rows / norms).numpy(), method='ward')[:, :2].astype(int)):
        parents[pair] = len(rows) + step
    return parents.tolist()


def tree_from_groups(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Tree:
    """A tree of named groups; see `ClassHierarchy.from_groups`. A group is known by all names from the outermost on."""
    parent_of: dict[Hashable, Hashable] = {}
    for name in names:
        path = groups[name]
        if not isinstance(path, list | tuple) or not all(isinstance(group, str) for group in path):
            raise ValueError(f'expected a list of group names for the class {name!r}, got {path!r}')
        steps = [*(tuple(path[:end]) for end in range(len(path) + 1)), name]
        parent_of |= {inner: outer for outer, inner in pairwise(steps)}
    parents, _, groups_of = tree_from_parents(names, parent_of)
    return parents, names, {node: group[-1] for node, group in groups_of.items() if group}


def tree_from_parents(names: Sequence[str], parent_of: Mapping[Hashable, Hashable], join_roots: bool = False) -> Tree:
    """A tree of classes and their ancestors, from the parent of each child, without cycles and nodes of one child."""
    known = parent_of.keys() | set(parent_of.values())
    if missing := [name for name in names if name not in known]:
        raise ValueError(f'expected all classes, missing are {quoted(missing)}')
    children: dict[Hashable, list[Hashable]] = {None: []}  # None is above the roots
    for name in names:
        key = name
        while key is not None:
            parent = parent_of.get(key)
            siblings = children.setdefault(parent, [])
            siblings.append(key)
            key = parent if len(siblings) == 1 else None  # else the parent has a place already
    if above := [name for name in names if name in children]:
        raise ValueError(f'expected classes without classes below them, got {above[0]!r} with some')
    if len(children[None]) > 1 and not join_roots:
        raise ValueError(f'expected one root, got {quoted(children[None])} (join_roots puts them under a new one)')
    inner: list[Hashable] = []
    place_above: dict[Hashable, int] = {}  # the parent's place in `inner`
    stack: list[tuple[Hashable, int]] = [(None, -1)]
    while stack:
        key, place = stack.pop()
        while len(below := children.get(key, ())) == 1:
            (key,) = below
        place_above[key] = place
        if below:
            stack += [(child, len(inner)) for child in below]
            inner.append(key)
    last = len(names) + len(inner) - 1  # the root's id: parents come after their children, as from Ward
    parents = [last - place_above[name] for name in names]
    parents += [last - place_above[key] if place_above[key] >= 0 else -1 for key in reversed(inner)]
    return parents, names, {last - i: key for i, key in enumerate(inner) if key is not None}


def read_edges(file: str | os.PathLike) -> dict[str, str]:
    """The parent of each child in a file of edges without cycles."""
    parent_of: dict[str, str] = {}
    for number, line in enumerate(Path(file).read_text(encoding='utf-8-sig').splitlines(), 1):
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
