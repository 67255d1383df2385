"""What logits decide at each node of a tree: NBDT's soft and hard inference (Wan et al., ICLR 2021, §3)."""

from dataclasses import dataclass

import numpy as np
import torch

from .tree import ClassHierarchy


@dataclass(frozen=True, eq=False)
class TreeDecisions:
    """Decisions of B images in a tree with N nodes and C classes.

    Attributes:
        tree: The tree.
        node_probabilities: (N, B) the probability of each node among its siblings; 1 for the root.
        best: (N, B) the most probable child of each node; a leaf itself.
        class_probabilities: (B, C) the product of these along the path to each class; the rows sum to one.
        soft: (B,) the classes of soft inference: those with the largest product.
        hard: (B,) the classes of hard inference: at each node the most probable child is entered.
    """

    tree: ClassHierarchy
    node_probabilities: np.ndarray
    best: np.ndarray
    class_probabilities: np.ndarray
    soft: np.ndarray
    hard: np.ndarray

    def path(self, image: int, label: int | None = None) -> list[tuple[int, float]]:
        """The nodes below the root on an image's way to a class, by default that of hard inference, from the root down.

        Each comes with its probability among its siblings.
        """
        label = int(self.hard[image]) if label is None else label
        return [(node, float(self.node_probabilities[node, image])) for node in reversed(self.tree.path(label))]


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms (B, C) of probabilities, in float64, to use as logits in a tree.

    They are the logits minus a number that is the same for all classes of an image. It cancels among siblings, so soft
    and hard inference are exact; the sums of TreeSupervisionLoss's mode 'path' would not be, if classes are at
    different depths. A probability of 0, too small for float32, is taken as the smallest positive float32. Of a mean
    over views or models the decisions are those of the mean probabilities.

    >>> log_probabilities(np.array([[1.0, 0.0]], np.float32)).round(2).tolist()
    [[0.0, -103.28]]
    """
    return np.log(np.maximum(probabilities.astype(np.float64), float(np.finfo(np.float32).smallest_subnormal)))


def tree_decisions(logits: torch.Tensor | np.ndarray, tree: ClassHierarchy) -> TreeDecisions:
    """Decide by soft and hard inference. A node's score is the mean of its leaves' logits.

    Args:
        logits: (B, C), finite; or log-probabilities, see `log_probabilities`.
        tree: The tree; its leaves are in the order of the logits.

    Raises:
        ValueError: If the logits have another shape, or are not finite.

    Examples:
        >>> tree = ClassHierarchy([3, 3, 4, 4, -1], ['cat', 'dog', 'car'], {3: 'animal'})
        >>> decisions = tree_decisions(torch.tensor([[2.0, 1.0, 1.8]]), tree)
        >>> decisions.soft, decisions.hard  # a cat by its logit, but animal and car are at 1.5 and 1.8
        (array([2]), array([2]))
        >>> [(node, round(p, 2)) for node, p in decisions.path(0, label=0)]
        [(3, 0.43), (0, 0.73)]
    """
    if isinstance(logits, torch.Tensor):
        logits = logits.detach().to('cpu', torch.float64).numpy()
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != tree.num_classes:
        raise ValueError(f'expected logits (B, {tree.num_classes}) for the tree, got the shape {scores.shape}')
    if not np.isfinite(scores).all():
        raise ValueError('expected finite logits')
    images = len(scores)
    means = np.zeros((tree.num_nodes, images))
    means[: tree.num_classes] = scores.T
    for node in reversed(tree.order[1:]):  # sums first, children before their parents
        means[tree.parents[node]] += means[node]
    means /= np.array(tree.leaf_counts())[:, None]

    own, product = np.ones_like(means), np.ones_like(means)
    best = np.tile(np.arange(tree.num_nodes)[:, None], images)
    for node in tree.order:
        if children := list(tree.children(node)):
            shares = np.exp(means[children] - means[children].max(axis=0))
            own[children] = shares / shares.sum(axis=0)
            product[children] = product[node] * own[children]
            best[node] = np.array(children)[shares.argmax(axis=0)]
    hard = np.full(images, tree.root)
    while (hard >= tree.num_classes).any():
        hard = best[hard, np.arange(images)]
    probabilities = product[: tree.num_classes].T
    return TreeDecisions(tree, own, best, probabilities, probabilities.argmax(axis=1), hard)
