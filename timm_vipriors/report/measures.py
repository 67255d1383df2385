"""What a report says about a model: numbers from its scores, and nothing about how they look on the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import UserError
from ..hierarchy import ClassHierarchy, TreeAccuracy, log_probabilities, tree_accuracy, tree_decisions
from ..hierarchy.accuracy import node_name
from ..inference.metrics import balanced_accuracy, in_top, wilson
from ..inference.scores import Scores

CALIBRATION_BINS = 15
PROBABILITY_FLOOR = 1e-12  # a vote may give the true class 0, whose logarithm would hide all other images


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says about N images, without the (N, C) scores themselves.

    The properties need a true class for every row: see `labelled`.

    Example:
        >>> scores = Scores(np.eye(2, dtype=np.float32), np.array(['a.png', 'b.png']), np.array([0, 0]))
        >>> Predictions.of(scores).mistakes()
        [('b.png', '0', '1', 1.0)]
    """

    model: str  # what made the scores; may be empty
    class_names: np.ndarray  # (C,); indices as text where the score file has none
    has_names: bool  # whether it has them
    filenames: np.ndarray  # (N,)
    targets: np.ndarray  # the true classes, -1 where unknown, (N,)
    predicted: np.ndarray  # the class with the highest score, the first among equals, (N,)
    confidence: np.ndarray  # that score, (N,)
    target_score: np.ndarray  # the true class's score, (N,)
    in_five: np.ndarray  # whether it is one of the five highest; equal scores rank by class index, (N,)

    @classmethod
    def of(cls, scores: Scores) -> 'Predictions':
        """Reduce the scores of a model to what a report needs."""
        count, classes = scores.scores.shape
        if count == 0:
            raise UserError('the score file has no rows: predict at least one image')
        targets = np.full(count, -1) if scores.targets is None else scores.targets
        has_names = scores.class_names is not None
        names = scores.class_names if has_names else np.arange(classes).astype(str)
        own = np.take_along_axis(scores.scores, np.maximum(targets, 0)[:, None], axis=1)[:, 0]
        predicted, confidence = scores.scores.argmax(axis=1), scores.scores.max(axis=1).astype(float)
        in_five = in_top(scores.scores, targets, 5)
        return cls(scores.model, names, has_names, scores.filenames, targets, predicted, confidence, own, in_five)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.filenames)

    def labelled(self) -> 'Predictions':
        """The rows whose true class is known, which may be none."""
        rows = ('filenames', 'targets', 'predicted', 'confidence', 'target_score', 'in_five')
        return replace(self, **{name: getattr(self, name)[self.targets >= 0] for name in rows})

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is right, (N,)."""
        return self.predicted == self.targets

    @property
    def top1(self) -> float:
        """The share of images predicted right."""
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % score interval of `top1`."""
        return wilson(int(self.correct.sum()), len(self))

    @property
    def top5(self) -> float | None:
        """The share of images whose true class has one of the five highest scores; None with five classes or fewer."""
        return float(self.in_five.mean()) if len(self.class_names) > 5 else None

    @property
    def balanced_accuracy(self) -> float:
        """The mean accuracy (recall) of the classes that occur."""
        return balanced_accuracy(self.correct, self.targets)

    @property
    def cross_entropy(self) -> float:
        """The mean of −log p(true class) in nats, with p raised to `PROBABILITY_FLOOR`."""
        return float(-np.log(np.clip(self.target_score, PROBABILITY_FLOOR, 1, dtype=float)).mean())

    @property
    def floored(self) -> int:
        """The images whose p(true class) is below `PROBABILITY_FLOOR`."""
        return int((self.target_score < PROBABILITY_FLOOR).sum())

    @property
    def calibration_error(self) -> float:
        """The mean over the images of |accuracy − mean confidence| of their bin (expected calibration error)."""
        _, correct, confidence = self.calibration()
        return float(np.abs(correct - confidence).sum() / len(self))  # the bins' counts cancel

    def calibration(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, those predicted right and the sum of the confidences in each of `CALIBRATION_BINS`, all (bins,).

        Bins have equal width; a confidence on an edge is in the lower one.
        """
        index = np.searchsorted(np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS, self.confidence, side='left')
        weights = (None, self.correct, self.confidence)
        return tuple(np.bincount(index, weights=w, minlength=CALIBRATION_BINS) for w in weights)

    def accuracy_by_class(self) -> list[tuple[str, float, int]]:
        """Name, accuracy and number of images of each class that occurs, the worst first."""
        counts, correct = np.bincount(self.targets), np.bincount(self.targets, self.correct)
        rows = [(str(self.class_names[i]), float(correct[i] / counts[i]), int(counts[i])) for i in counts.nonzero()[0]]
        return sorted(rows, key=lambda row: row[1])

    def confusion(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts by true (rows) and predicted class (columns), and the shade of each in [0, 1], both (C, C).

        A right cell's shade is its share of the row, a wrong cell's the root of its share by the largest such share, so
        that the few mistakes of a good model can be seen.
        """
        classes = len(self.class_names)
        counts = np.bincount(self.targets * classes + self.predicted, minlength=classes**2).reshape(classes, classes)
        shares, right = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), np.eye(classes, dtype=bool)
        most = shares[~right].max(initial=1e-9)
        return counts, np.where(right, shares, np.sqrt(shares / most))

    def confused_pairs(self) -> list[tuple[str, str, int, float]]:
        """True class, predicted class, images and their share of the true class; the commonest first, then by share."""
        classes, wrong = len(self.class_names), ~self.correct
        keys, counts = np.unique(self.targets[wrong] * classes + self.predicted[wrong], return_counts=True)
        true, predicted = np.divmod(keys, classes)
        shares = counts / np.bincount(self.targets, minlength=classes)[true]
        order = np.lexsort((keys, -shares, -counts))
        names = self.class_names
        return [(str(names[true[i]]), str(names[predicted[i]]), int(counts[i]), float(shares[i])) for i in order]

    def mistakes(self) -> list[tuple[str, str, str, float]]:
        """File, true class, predicted class and confidence of the images predicted wrong, the most confident first."""
        wrong = np.flatnonzero(~self.correct)
        order = wrong[np.argsort(-self.confidence[wrong], kind='stable')]
        columns = self.filenames, self.class_names[self.targets], self.class_names[self.predicted], self.confidence
        return list(zip(*(column[order].tolist() for column in columns), strict=True))

    def predicted_classes(self) -> list[tuple[str, int]]:
        """Name and number of images of each class that was predicted, the commonest first."""
        counts = np.bincount(self.predicted)
        return [(str(self.class_names[i]), int(counts[i])) for i in np.argsort(-counts, kind='stable') if counts[i]]

    def images(self) -> frozenset[tuple[str, str | int]]:
        """Each file with its true class, to tell whether two models saw the same.

        Classes count by name, since two models can have them in another order; an index without a name equals none.
        """
        classes = self.class_names[self.targets] if self.has_names else self.targets
        return frozenset(zip(self.filenames.tolist(), classes.tolist(), strict=True))


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
