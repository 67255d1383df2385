"""The result of an ensemble: its predictions, its accuracy and gain as text, and the predictions as a CSV file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..files import plural, text_table
from .join import Joined
from .metrics import balanced_accuracy, paired_gain
from .scores import Scores
from .submission import write_csv

UNKNOWN = '–'


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The result of an average or a vote; its text is the table that the command prints.

    Attributes:
        joined: The files.
        scores: The ensemble's scores (N, C), None where they were not to be kept.
        predictions: The best class of each member, that of the ensemble last (M + 1, N).
        confidences: The scores of these (M + 1, N).
        in_top5: Whether the target is among the five best classes (M + 1, N); False where it is unknown.
        kind: `average` or `vote`.
        cells: The weights, or the roles in the vote.
        threshold: That of the vote.

    Examples:
        >>> from timm_vipriors.inference import ScoreFile, average
        >>> from timm_vipriors.inference.join import join
        >>> images, rows = np.array(['a.png']), {'b7.npz': [[0.6, 0.4]], 'b3.npz': [[0.1, 0.9]]}
        >>> files = [ScoreFile(path, np.array(scores), images) for path, scores in rows.items()]
        >>> result = average(join(files, ['cat', 'dog']), weights=[3, 1])
        >>> result.scores.round(3), result.predictions[-1]
        (array([[0.475, 0.525]], dtype=float32), array([1]))
    """

    joined: Joined
    scores: np.ndarray | None
    predictions: np.ndarray
    confidences: np.ndarray
    in_top5: np.ndarray
    kind: str
    cells: Sequence[str]
    threshold: float = 0

    def __str__(self) -> str:
        """The members and the ensemble with their accuracies, what a vote changed, and the gain."""
        joined, is_vote = self.joined, self.kind == 'vote'
        targets = np.full(len(joined.filenames), -1) if joined.targets is None else joined.targets
        known = targets >= 0
        right, top5 = (self.predictions == targets)[:, known], [percent(row[known]) for row in self.in_top5]
        balanced = [f'{100 * balanced_accuracy(row, targets[known]):.2f}' if known.any() else UNKNOWN for row in right]
        after = right[-1]
        paths = [member.file.path for member in joined.members]
        rows = [('member', 'model', 'role' if is_vote else 'weight', 'top-1', 'balanced', 'top-5')]
        for i, (path, member, cell) in enumerate(zip(paths, joined.members, self.cells, strict=True)):
            rows.append((path, member.file.model, cell, percent(right[i]), balanced[i], top5[i]))
        # the shares of votes say little about the second to fifth class
        rows.append((self.kind, '', '', percent(after), balanced[-1], UNKNOWN if is_vote else top5[-1]))
        head = f'{plural(len(known), "image")}, {plural(joined.num_classes, "class", "classes")}'
        lines = [f'{head}, targets known for {known.sum():,}', text_table(rows, left=range(2))]
        if is_vote:
            decided = (self.confidences[0] < np.float32(self.threshold)).sum()
            changed = (self.predictions[-1] != self.predictions[0]).sum()
            lines.append(f'the vote decided {decided:,} of {plural(len(known), "image")} ')
            lines[-1] += f'(base below {self.threshold:g}) and changed {changed:,}'
        if known.any() and is_vote:
            won, lost = (after & ~right[0]).sum(), (right[0] & ~after).sum()
            lines[-1] += f': {won:,} became right, {lost:,} became wrong'
            lines.append(gain_line(f'the base {paths[0]}', right[0], after))
        elif known.any():
            best = int(right[:-1].sum(axis=1).argmax())
            lines.append(gain_line(best_single(paths[best], right[best]), right[best], after))
        return '\n'.join(lines)

    def save_scores(self, path: str | os.PathLike) -> None:
        """Write a score file; see `Scores.save`. The scores of a vote are those of `vote_scores`."""
        joined = self.joined
        model = f'{self.kind} of {", ".join(member.file.model or member.file.path for member in joined.members)}'
        Scores(self.scores, joined.filenames, joined.targets, joined.class_names, model).save(path)

    def save_csv(self, path: str | os.PathLike) -> None:
        """Write `filename,prediction,class_name,score`, and `target,correct` where any target is known."""
        joined = self.joined
        header = ['filename', 'prediction', 'class_name', 'score']
        predictions = self.predictions[-1]
        names = [''] * len(predictions) if joined.class_names is None else joined.class_names[predictions]
        columns = [joined.filenames, predictions, names, map(str, self.confidences[-1])]
        if joined.targets is not None:
            header += ['target', 'correct']
            for column in (joined.targets, (predictions == joined.targets).astype(int)):
                columns.append(np.where(joined.targets >= 0, column.astype(str), ''))
        write_csv(path, header, zip(*columns, strict=True))


def percent(correct: np.ndarray) -> str:
    """The share of True in percent; a dash if there is nothing."""
    return f'{100 * correct.mean():.2f}' if len(correct) else UNKNOWN


def best_single(path: str, correct: np.ndarray) -> str:
    """The best member in the line of a gain."""
    return f'{path}, the best single member here with {percent(correct)} %'


def gain_line(over: str, before: np.ndarray, after: np.ndarray) -> str:
    """A line with the gain in percentage points and its interval."""
    gain, low, high = (round(100 * x, 2) + 0.0 for x in paired_gain(before, after))  # + 0.0 makes 0 of -0
    images = plural(len(before), 'image')
    points = f'{gain:+.2f} percentage points, 95 % interval {low:+.2f} to {high:+.2f}'
    return f'gain over {over}: {points} (paired score interval over {images})'
