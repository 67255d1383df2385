"""What a training left in its folder: timm's summary.csv, a row for each epoch, and its settings in args.yaml."""

import csv
import math
import os
from dataclasses import dataclass

import numpy as np

from ..errors import UserError

SUMMARY, SETTINGS = 'summary.csv', 'args.yaml'
COLUMNS = ('train_loss', 'eval_loss', 'eval_top1', 'eval_top5', 'lr')


@dataclass(frozen=True)
class TrainingRun:
    """A training.

    Args:
        name: The folder's name.
        path: The folder as it was given.
        epochs: The epochs in order, each once, (E,).
        columns: Those of `COLUMNS` that have a number, float64, (E,); nan where there is none.
        settings: What args.yaml says; empty without one.
    """

    name: str
    path: str
    epochs: np.ndarray
    columns: dict[str, np.ndarray]
    settings: dict

    def best(self) -> tuple[str, int] | None:
        """The column by which epochs were compared and the position of the best, or None without a number."""
        wanted = f'eval_{self.settings.get("eval_metric", "top1")}'
        for column in (wanted, 'eval_top1', 'eval_loss', 'train_loss'):
            values = self.columns.get(column)
            if values is not None and np.isfinite(values).any():
                # the first of equals, as timm keeps it
                usable = np.where(np.isfinite(values), values if 'loss' not in column else -values, -np.inf)
                return column, int(usable.argmax())
        return None


def read_run(folder: str) -> TrainingRun:
    """Read a folder of timm's train script, or of ours.

    An epoch that is there twice, because a training was resumed from an earlier one, counts as it was done last.

    Raises:
        UserError: If the folder has no summary.csv, or one of the files is not what the script writes.
    """
    path = os.path.join(folder, SUMMARY)
    if not os.path.isfile(path):
        raise UserError(
            f'{folder} has no {SUMMARY}: expected the folder that a training wrote (output/train/RUN), or a score file'
        )
    rows: dict[int, dict[str, float]] = {}
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            for epoch, row in _read_rows(path, file):
                rows[epoch] = row
    except (UnicodeDecodeError, csv.Error, OSError) as e:
        raise UserError(f'{path} is not the CSV file that a training writes: {e}') from None
    if not rows:
        raise UserError(f'{path} has no epochs: the training has not finished one yet')
    epochs = sorted(rows)
    columns = {name: np.array([rows[e].get(name, math.nan) for e in epochs]) for name in COLUMNS}
    return TrainingRun(
        name=os.path.basename(os.path.abspath(folder)),
        path=folder,
        epochs=np.array(epochs),
        columns={name: values for name, values in columns.items() if not np.isnan(values).all()},
        settings=_read_settings(os.path.join(folder, SETTINGS)),
    )


def _read_rows(path: str, file):
    """Epochs and their numbers by column. Every header, a resumed training writes another, holds from there on."""
    header = None
    lines = csv.reader(file)
    for cells in lines:
        where = f'{path}, line {lines.line_num}'
        if not cells:
            continue
        if cells[0] == 'epoch':
            header = cells
            if not set(header) & set(COLUMNS):
                raise UserError(f'{where}: expected some of the columns {", ".join(COLUMNS)}, got {",".join(cells)!r}')
            continue
        if header is None:
            raise UserError(f'{where}: expected a header that begins with epoch, got {",".join(cells)!r:.80}')
        if len(cells) != len(header):
            raise UserError(f'{where}: expected {len(header)} values ({",".join(header)}), got {len(cells)}')
        row = dict(zip(header, cells, strict=True))
        try:
            yield _epoch(row['epoch']), {name: _number(row[name]) for name in COLUMNS if row.get(name)}
        except ValueError as e:
            raise UserError(f'{where}: expected a number for each column, got {",".join(cells)!r:.80} ({e})') from None


def _epoch(text: str) -> int:
    if not 0 <= int(text) < 10**9:
        raise ValueError('an epoch is a number from 0')
    return int(text)


def _number(text: str) -> float:
    """A number; one that no chart has an axis for is infinite, or 0."""
    value = float(text)
    if abs(value) > 1e100:
        return math.copysign(math.inf, value)
    return 0.0 if abs(value) < 1e-100 else value


def _read_settings(path: str) -> dict:
    import yaml  # comes with timm

    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding='utf-8') as file:
            settings = yaml.safe_load(file)
    except Exception as e:  # a tag with a value that is none makes safe_load raise anything
        raise UserError(f'{path} is not the YAML file that a training writes: {" ".join(str(e).split())}') from None
    if not isinstance(settings, dict):
        raise UserError(f'{path}: expected a name and a value on each line, got {str(settings)[:80]!r}')
    return settings
