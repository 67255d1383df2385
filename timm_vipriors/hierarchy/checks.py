"""What parents and names must be to make a tree over classes."""

from collections.abc import Iterable, Mapping, Sequence
from operator import index

from ..files import first_names


def checked_parents(parents: Sequence[int]) -> tuple[int, ...]:
    """The parents of a tree as Python's integers, each an id or −1, which one node has; or a ValueError."""
    for node, parent in enumerate(parents):
        if not hasattr(parent, '__index__') or isinstance(parent, bool) or not -1 <= parent < len(parents):
            last = len(parents) - 1
            raise ValueError(f'expected a parent in 0 … {last}, or -1 for the root, got {parent!r} at node {node}')
    roots = [node for node, parent in enumerate(parents) if parent == -1]
    if len(roots) != 1:
        raise ValueError(f'expected one root, a node whose parent is -1, got {quoted(roots) or "none"}')
    return tuple(map(index, parents))


def children_of(parents: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The children of each node, in the order of their ids."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent != -1:
            children[parent].append(node)
    return tuple(map(tuple, children))


def check_tree(parents: Sequence[int], children: Sequence[Sequence[int]], order: Sequence[int], classes: int) -> None:
    """Raise a ValueError unless all nodes hang below the root, and the childless ones are 0 … classes − 1."""
    if len(order) < len(parents):
        raise ValueError(f'expected a tree, got a cycle at or above node {min(set(range(len(parents))) - set(order))}')
    if classes >= len(parents):
        raise ValueError(f'expected a name for each class, got {classes} for a tree of {len(parents)} nodes')
    for node, below in enumerate(children):
        if below if node < classes else len(below) < 2:
            raise ValueError(
                f'expected no children at nodes 0 … {classes - 1}, the classes, and at least 2 at all others, '
                f'got {len(below)} at node {node}'
            )


def checked_node_names(node_names: Mapping[int, str], inner_nodes: range) -> dict[int, str]:
    """The names of inner nodes by their ids in order, or a ValueError."""
    for node, name in node_names.items():
        if not isinstance(node, int) or node not in inner_nodes or not isinstance(name, str):
            raise ValueError(f'expected names of inner nodes, got {name!r} for node {node!r}')
    return dict(sorted(node_names.items()))


def checked_names(class_names: Iterable[str]) -> tuple[str, ...]:
    """The names of at least two classes, each a string of its own, or a ValueError."""
    listed = isinstance(class_names, Iterable) and not isinstance(class_names, str)
    names = tuple(class_names) if listed else ()
    if not listed or not all(isinstance(name, str) for name in names):
        raise ValueError(f'expected class names as a list of strings, got {class_names!r}')
    if len(names) < 2:
        raise ValueError(f'expected at least 2 classes, got {len(names)}')
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = [name for name in names if name in seen or seen.add(name)]
        raise ValueError(f'expected a different name for each class, twice there are {quoted(twice)}')
    return names


def name_differences(names: Iterable[str], expected: Iterable[str]) -> str:
    """Which names are missing and which are not known, as part of a sentence; empty if they are the same."""
    given, known = set(names), set(expected)
    parts = {'missing are': known - given, 'not known are': given - known}
    return ', '.join(f'{what} {quoted(sorted(which, key=repr))}' for what, which in parts.items() if which)


def quoted(names: Iterable[object]) -> str:
    """The first few names in quotes."""
    return first_names(map(repr, names))
