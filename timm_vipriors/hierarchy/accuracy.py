"""A model's accuracy at each node of a tree, and how far apart in the tree it mistakes classes."""

import math
from dataclasses import dataclass

import numpy as np

from ..files import first_names, plural, printable, text_table
from .decisions import tree_decisions
from .tree import ClassHierarchy

_CHUNK = 4096  # images at a time, whose decisions at 2,000 nodes take 200 MB
MOST_NODES = 30  # that are shown


@dataclass(frozen=True, eq=False)
class TreeAccuracy:
    """The accuracy of B images in a tree with N nodes; its text is the table that `timm-vipriors predict` prints.

    Attributes:
        tree: The tree.
        images: (N,) the number of images whose class is at or below each node.
        decided: (N,) for how many of these the node's most probable child leads to their class; 0 at leaves.
        inside: (N,) for how many of these the predicted class, that of the highest logit, is at or below the node;
            divided by `images` this is the accuracy of a superclass.
        distances: (D,) the number of images by the edges between the predicted and the true class; 0 edges is right.
        correct: The number of correct images by the highest logit, by soft and by hard inference.
    """

    tree: ClassHierarchy
    images: np.ndarray
    decided: np.ndarray
    inside: np.ndarray
    distances: np.ndarray
    correct: tuple[int, int, int]

    def __str__(self) -> str:
        tree, count = self.tree, int(self.distances.sum())
        own, soft, hard = (_percent(number, count) for number in self.correct)
        lines = [f"top-1 {own} % by the model's own class, {soft} % by soft and {hard} % by hard inference in the tree"]
        if wrong := count - self.correct[0]:
            by_edges = ', '.join(f'{number:,} at {edges}' for edges, number in self.mistakes())
            lines.append(
                f'{plural(wrong, "mistake")} by the edges to the true class: {by_edges}; {self.mean_distance:.2f} on '
                f'average ({self.usual_distance:.2f} between any two classes)'
            )
        rows = [('node', 'images', 'decisions, %', 'superclass, %')]
        for depth, name, images, decided, inside in self.nodes():
            rows.append(('  ' * depth + name, f'{images:,}', _percent(decided, images), _percent(inside, images)))
        lines.append(text_table(rows))
        if (left := len(tree.order) - tree.num_classes - len(rows) + 1) > 0:
            lines.append(f'and {plural(left, "node")} with fewer images')
        return '\n'.join(lines)

    def mistakes(self) -> list[tuple[int, int]]:
        """The numbers of edges between the predicted and the true class, each with the number of such mistakes."""
        return [(edges, number) for edges, number in enumerate(self.distances.tolist()) if edges and number]

    @property
    def mean_distance(self) -> float:
        """The mean of these edges over the mistakes; nan without one."""
        wrong = sum(number for _, number in self.mistakes())
        return sum(edges * number for edges, number in self.mistakes()) / wrong if wrong else math.nan

    @property
    def usual_distance(self) -> float:
        """The mean of the edges between any two classes."""
        distances = class_distances(self.tree)
        return float(distances.sum() / (distances.size - len(distances)))

    def nodes(self, most: int = MOST_NODES) -> list[tuple[int, str, int, int, int]]:
        """Depth, name, `images`, `decided` and `inside` of the inner nodes with the most images, from the root down."""
        inner = [node for node in self.tree.order if self.tree.children(node)]
        shown = set(sorted(inner, key=lambda node: -self.images[node])[:most])
        figures = (self.images, self.decided, self.inside)
        return [
            (len(self.tree.path(node)), node_name(self.tree, node), *(int(part[node]) for part in figures))
            for node in inner
            if node in shown
        ]


def tree_accuracy(logits: np.ndarray, targets: np.ndarray, tree: ClassHierarchy) -> TreeAccuracy:
    """The accuracy at each node of a tree.

    Args:
        logits: (B, C), finite; or log-probabilities, see `log_probabilities`.
        targets: (B,) the true classes.
        tree: The tree; its leaves are in the order of the logits.

    Raises:
        ValueError: If the logits or targets do not fit the tree.

    Examples:
        >>> tree = ClassHierarchy([3, 3, 4, 4, -1], ['cat', 'dog', 'car'], {3: 'animal'})
        >>> found = tree_accuracy(np.array([[2.0, 3.0, 0.0], [0.0, 0.0, 1.0]]), np.array([0, 2]), tree)
        >>> found.inside[[3]], found.decided[[3, 4]]  # a cat taken for a dog, but for an animal
        (array([1]), array([0, 2]))
        >>> found.distances
        array([1, 0, 1, 0])
    """
    if targets.shape != logits.shape[:1] or not ((targets >= 0) & (targets < tree.num_classes)).all():
        raise ValueError(f'expected {len(logits)} targets of 0 … {tree.num_classes - 1}, all known')
    below, distance = leaves_below(tree), class_distances(tree)
    images, decided, inside = np.zeros((3, tree.num_nodes), np.int64)
    distances, correct = np.zeros(distance.max() + 1, np.int64), np.zeros(3, np.int64)
    for start in range(0, len(logits), _CHUNK):
        block, target = logits[start : start + _CHUNK], targets[start : start + _CHUNK]
        decisions, own = tree_decisions(block, tree), block.argmax(axis=1)
        correct += [int((found == target).sum()) for found in (own, decisions.soft, decisions.hard)]
        distances += np.bincount(distance[own, target], minlength=len(distances))
        right_side = below[:, target]
        images += right_side.sum(axis=1)
        inside += (right_side & below[:, own]).sum(axis=1)
        decided += (right_side & below[decisions.best, target]).sum(axis=1)
    decided[: tree.num_classes] = 0
    return TreeAccuracy(tree, images, decided, inside, distances, tuple(correct.tolist()))


def leaves_below(tree: ClassHierarchy) -> np.ndarray:
    """Whether each class (C) is at or below each node (N): booleans (N, C)."""
    below = np.zeros((tree.num_nodes, tree.num_classes), bool)
    np.fill_diagonal(below, True)
    for node in reversed(tree.order[1:]):  # children before their parents
        below[tree.parents[node]] |= below[node]
    return below


def class_distances(tree: ClassHierarchy) -> np.ndarray:
    """The number of edges between any two classes (C, C).

    >>> class_distances(ClassHierarchy([3, 3, 4, 4, -1])).tolist()
    [[0, 2, 3], [2, 0, 3], [3, 3, 0]]
    """
    below = leaves_below(tree).astype(np.float32)
    common = below.T @ below  # how many nodes two classes are both below
    own = common.diagonal()
    return (own[:, None] + own - 2 * common).astype(np.int64)


def node_name(tree: ClassHierarchy, node: int) -> str:
    """The name of a node, or the first few of its classes if it has none."""
    if node < tree.num_classes:
        return printable(tree.class_names[node])
    if node == tree.root or node in tree.node_names:
        return printable(tree.node_names.get(node, 'all classes'))
    return first_names((tree.class_names[leaf] for leaf in np.flatnonzero(leaves_below(tree)[node])), 3)


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.2f}' if whole else '–'
