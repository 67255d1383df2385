"""What parents and names must be to make a tree over classes."""

from collections.abc import Iterable, Mapping, Sequence
from operator import index

from ..files import quoted, repeated


def checked_parents(parents: Sequence[int]) -> tuple[int, ...]:
    """The parents of a tree as Python's integers: ids, and −1 for one node; or a ValueError."""
    for node, parent in enumerate(parents):
        if not hasattr(parent, '__index__') or isinstance(parent, bool) or not -1 <= parent < len(parents):
            last = len(parents) - 1
            raise ValueError(f'expected a parent in 0 … {last}, or -1 for the root, got {parent!r} at node {node}')
    roots = [node for node, parent in enumerate(parents) if parent == -1]
    if len(roots) != 1:
        raise ValueError(f'expected one root, a node whose parent is -1, got {quoted(roots) or "none"}')
    return tuple(map(index, parents))


def check_tree(children: Sequence[Sequence[int]], order: Sequence[int], classes: int, names: Mapping[int, str]) -> None:
    """Raise a ValueError unless all nodes are below the root, the childless ones are the classes, and names fit."""
    nodes = range(len(children))
    if len(order) < len(nodes):
        raise ValueError(f'expected a tree, got a cycle at or above node {min(set(nodes) - set(order))}')
    if classes >= len(nodes):
        raise ValueError(f'expected a name for each class, got {classes} for a tree of {len(nodes)} nodes')
    for node, below in enumerate(children):
        if below if node < classes else len(below) < 2:
            raise ValueError(
                f'expected no children at nodes 0 … {classes - 1}, the classes, and at least 2 at all others, '
                f'got {len(below)} at node {node}'
            )
    for node, name in names.items():
        if node not in nodes[classes:] or not isinstance(name, str):
            raise ValueError(f'expected names of inner nodes, got {name!r} for node {node!r}')


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
