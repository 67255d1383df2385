"""What an ensemble brings, as text: a table of accuracies, the gain and how sure it is."""

from collections.abc import Sequence

import numpy as np

from .bootstrap import gain_interval
from .ensemble import EnsembleRun
from .selection import Selection

UNKNOWN = '–'


def average_text(run: EnsembleRun, weights: Sequence[str]) -> str:
    """The members and their average, and its gain over the best of them."""
    lines = [_members_table(run, 'weight', weights, 'average')]
    correct = _correct(run)
    if correct is not None:
        members, ensemble = correct
        best = int(members.sum(axis=1).argmax())
        lines.append(
            gain_line(_best_single(run.joined.members[best].file.path, members[best]), members[best], ensemble)
        )
    return '\n'.join(lines)


def vote_text(run: EnsembleRun, threshold: float) -> str:
    """The base, the others and their vote, what the vote changed, and its gain over the base."""
    roles = ['base'] + ['votes'] * (len(run.member_scores) - 1)
    lines = [_members_table(run, 'role', roles, 'vote', top5=False)]
    decided = run.member_scores[0] < np.float32(threshold)
    changed = run.predictions != run.member_predictions[0]
    counts = f'{decided.sum():,} of {len(changed):,} images (base below {threshold:g}) and changed {changed.sum():,}'
    lines.append(f'the vote decided {counts}')
    correct = _correct(run)
    if correct is not None:
        base, ensemble = correct[0][0], correct[1]
        lines[-1] += f': {(ensemble & ~base).sum():,} became right, {(base & ~ensemble).sum():,} became wrong'
        lines.append(gain_line(f'the base {run.joined.members[0].file.path}', base, ensemble))
    return '\n'.join(lines)


def search_text(found: Selection, paths: Sequence[str], models: Sequence[str], metric: str, folds: int) -> str:
    """The members with their weights, and the accuracy of what was chosen."""
    rows = [('member', 'model', 'weight', metric.replace('top', 'top-'))]
    for path, model, weight, single in zip(paths, models, found.weights, found.singles, strict=True):
        rows.append((path, model, str(weight or UNKNOWN), percent(single)))
    rows.append(('chosen, on the images of the choice: too good', '', '', percent(found.correct)))
    rows.append((f'chosen, on images not seen ({folds}-fold cross-validation)', '', '', percent(found.held_out)))
    best = int(found.singles.sum(axis=1).argmax())
    gain = gain_line(_best_single(paths[best], found.singles[best]), found.singles[best], found.held_out)
    return f'{table(rows, left=2)}\ncross-validated {gain}'


def table(rows: Sequence[Sequence[str]], left: int) -> str:
    """Rows of cells as text, the first columns flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)


def percent(correct: np.ndarray | None) -> str:
    """The share of what is right in percent."""
    return UNKNOWN if correct is None or len(correct) == 0 else f'{100 * correct.mean():.2f}'


def gain_line(over: str, before: np.ndarray, after: np.ndarray) -> str:
    """The gain over something in percentage points with its interval."""
    gain, low, high = (100 * x for x in gain_interval(before, after))
    return (
        f'gain over {over}: {gain:+.2f} percentage points, 95 % interval {low:+.2f} to {high:+.2f} '
        f'(paired bootstrap over {len(before):,} images)'
    )


def _best_single(path: str, correct: np.ndarray) -> str:
    return f'{path}, the best single member here with {percent(correct)}'


def _members_table(run: EnsembleRun, column: str, cells: Sequence[str], name: str, top5: bool = True) -> str:
    """A row for each member, and one for the ensemble."""
    targets = run.joined.targets
    known = np.zeros(len(run.predictions), bool) if targets is None else targets >= 0
    members, ensemble = _correct(run) or ([None] * len(cells), None)
    rows = [('member', 'model', column, 'top-1', 'top-5')]
    for member, cell, top1, in_top5 in zip(run.joined.members, cells, members, run.member_in_top5, strict=True):
        rows.append((member.file.path, member.file.model, cell, percent(top1), percent(in_top5[known])))
    rows.append((name, '', '', percent(ensemble), percent(run.in_top5[known]) if top5 else UNKNOWN))
    size = f'{len(known):,} images, {run.joined.num_classes:,} classes, targets known for {known.sum():,}'
    return f'{size}\n{table(rows, left=2)}'


def _correct(run: EnsembleRun) -> tuple[np.ndarray, np.ndarray] | None:
    """Whether each member (M, n) and the ensemble (n,) are right where targets are known; None where none is."""
    targets = run.joined.targets
    if targets is None:
        return None
    known = targets >= 0
    return run.member_predictions[:, known] == targets[known], run.predictions[known] == targets[known]
