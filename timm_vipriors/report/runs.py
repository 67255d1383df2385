"""What a run left in its folder: timm's summary.csv, a row for each epoch, and its settings in args.yaml."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import first_line

COLUMNS = {  # with their headings
    'train_loss': 'Training loss', 'eval_loss': 'Validation loss', 'eval_top1': 'Top-1, %', 'eval_top5': 'Top-5, %',
    'lr': 'Learning rate',
}  # fmt: skip


@dataclass(frozen=True)
class TrainingRun:
    """A training run of E epochs.

    Example:
        >>> run = TrainingRun('mine', 'output/mine', np.arange(3), {'eval_top1': np.array([40.0, 60.0, 50.0])}, {})
        >>> run.best()
        ('eval_top1', 1)
    """

    name: str  # the folder's
    path: str  # the folder as it was given
    epochs: np.ndarray  # in order, each once, (E,)
    columns: dict[str, np.ndarray]  # those of `COLUMNS` that have a number, float64, (E,); nan where there is none
    settings: dict  # what args.yaml says; empty without one

    def values(self, column: str) -> np.ndarray:
        """A column's numbers, all nan where the run has none, (E,)."""
        return self.columns.get(column, np.full(len(self.epochs), np.nan))

    def best(self) -> tuple[str, int] | None:
        """The column by which epochs were compared and the position of the best, or None without a number."""
        for column in (f'eval_{self.settings.get("eval_metric", "top1")}', 'eval_top1', 'eval_loss', 'train_loss'):
            values = self.values(column)
            if np.isfinite(values).any():
                # the first of equals, as timm keeps it
                usable = np.where(np.isfinite(values), values if 'loss' not in column else -values, -np.inf)
                return column, int(usable.argmax())
        return None


def read_run(folder: str | os.PathLike) -> TrainingRun:
    """Read a folder of timm's train script, or of ours.

    An epoch that is there twice, because the run was resumed from an earlier one, counts as it was done last.

    Raises:
        UserError: If the folder has no summary.csv, or one of the files is not what the script writes.
    """
    path = Path(folder, 'summary.csv')
    if not path.is_file():
        raise UserError(
            f'{folder} has no summary.csv: expected the folder of a run (output/train/RUN), or a score file'
        )
    rows, header, line = {}, [], 0
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            for line, cells in enumerate(csv.reader(file), 1):  # noqa: B007  for the message
                if cells[:1] == ['epoch']:  # a resumed run writes another header, which holds from there on
                    header = cells
                elif cells:
                    row = dict(zip(header, cells, strict=True))
                    rows[int(row['epoch'])] = {name: float(row[name]) for name in COLUMNS if row.get(name)}
    except (ValueError, csv.Error, OSError) as e:
        expected = f'{len(header)} numbers ({",".join(header)})' if header else 'a header that begins with epoch'
        raise UserError(f'{path}, line {line}: expected {expected}: {first_line(e)}') from e
    columns = {name: np.array([rows[epoch].get(name, np.nan) for epoch in sorted(rows)]) for name in COLUMNS}
    columns = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    if not columns:
        raise UserError(f'{path} has no epochs yet, or none of the columns {", ".join(COLUMNS)}')
    name, settings = os.path.basename(os.path.abspath(folder)), _read_settings(Path(folder, 'args.yaml'))
    return TrainingRun(name, os.fspath(folder), np.array(sorted(rows)), columns, settings)


def _read_settings(path: Path) -> dict:
    import yaml  # comes with timm

    if not path.exists():
        return {}
    try:
        return dict(yaml.safe_load(path.read_text(encoding='utf-8')))
    except Exception as e:  # a tag with a value that does not fit makes safe_load raise anything
        raise UserError(f'{path} is not the YAML file that a run writes: {" ".join(str(e).split())}') from e
