"""What a tree of the classes says about a model's scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..hierarchy import ClassHierarchy, TreeAccuracy, log_probabilities, tree_accuracy, tree_decisions
from ..hierarchy.accuracy import node_name
from ..inference.scores import Scores


@dataclass(frozen=True, eq=False)
class TreeFigures:
    """The figures of a model in a tree."""

    accuracy: TreeAccuracy  # at each node, and how far its mistakes are from the true class
    # by file name the nodes below the root that hard inference enters: name, probability among its siblings, and
    # whether the true class is at or below it
    decisions: dict[str, list[tuple[str, float, bool]]]


def tree_figures(scores: Scores, tree: ClassHierarchy, files: Sequence[str]) -> TreeFigures | None:
    """The figures of the images with a label, None without any, and the decisions of some of these images.

    Raises:
        ValueError: If the classes of the scores have no names, or others than those of the tree.

    Example:
        >>> names = np.array(['cat', 'dog', 'car'])
        >>> scores = Scores(np.eye(3, dtype=np.float32), np.array(['0', '1', '2']), np.array([1, 1, 2]), names)
        >>> tree = ClassHierarchy([3, 3, 4, 4, -1], names.tolist(), {3: 'animal'})
        >>> [(node, right) for node, _, right in tree_figures(scores, tree, ['0']).decisions['0']]
        [('animal', True), ('cat', False)]
    """
    if scores.class_names is None:
        raise ValueError('--hierarchy needs the names of the classes, which the score file does not have')
    tree = tree.reordered(scores.class_names.tolist())
    known = None if scores.targets is None else scores.targets >= 0
    if known is None or not known.any():
        return None
    accuracy = tree_accuracy(log_probabilities(scores.scores[known]), scores.targets[known], tree)
    rows = [int(np.flatnonzero(scores.filenames == name)[0]) for name in files]
    found, decisions = tree_decisions(log_probabilities(scores.scores[rows]), tree), {}
    for image, (row, name) in enumerate(zip(rows, files, strict=True)):
        target = int(scores.targets[row])
        way = {target, *tree.path(target)}
        decisions[name] = [(node_name(tree, node), p, node in way) for node, p in found.path(image)]
    return TreeFigures(accuracy, decisions)
