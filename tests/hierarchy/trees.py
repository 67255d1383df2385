"""Random trees, and what makes two trees the same."""

import numpy as np

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
