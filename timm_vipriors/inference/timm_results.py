"""Results of timm's inference.py, .csv and .parquet, read as scores.

They must have the probabilities of all classes: `--topk 0`, or `--topk C --include-index`, each with
`--results-separate-col` (a column for each class) or without (one column with lists).
"""

import csv
import os
import re

import numpy as np

_FLAGS = '--output-type prob --topk 0 --results-separate-col --fullname'


def read_timm_results(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Read the file names (N,) and the scores (N, C), which are not yet checked to be probabilities.

    Raises:
        ValueError: If the file has not the probabilities of all classes, or names an image twice.
        OSError: If it cannot be read.
        ImportError: If a .parquet file needs the extra `parquet`.
    """
    path = os.fspath(path)
    readers = {'.csv': _read_csv, '.parquet': _read_parquet}
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in readers:
        raise ValueError(
            f'{path}: expected .npz, or .csv or .parquet of inference.py, got {suffix} (--results-format csv)'
        )
    try:
        filenames, scores, indices = readers[suffix](path)
        if len(set(filenames)) < len(filenames):
            raise ValueError('a file name is there more than once: let it write whole names with --fullname')
        if any('\0' in name for name in filenames):  # which numpy would drop at the end of a text
            raise ValueError('a file name has a NUL character')
        return np.array(filenames, dtype=str), _by_class(scores, indices)
    except (ValueError, csv.Error) as e:
        raise ValueError(f"{path} has no scores as timm's inference.py writes them with {_FLAGS}: {e}") from e


def _columns(header: list[str]) -> tuple[list[str], list[str]]:
    """The columns of the probabilities and of the class indices, the latter empty where there are none."""
    if 'filename' not in header:
        raise ValueError(f'expected a column filename, got {", ".join(header[:5]) or "nothing"}')
    if any(re.fullmatch(r'logit(_\d+)?', name) for name in header):
        raise ValueError('it has logits: write probabilities with --output-type prob')
    found = []
    for kind in ('prob', 'index'):
        numbered = {int(name[len(kind) + 1 :]) for name in header if re.fullmatch(rf'{kind}_\d+', name)}
        if numbered != set(range(len(numbered))):
            raise ValueError(f'the columns {kind}_0, {kind}_1 … are not complete')
        found.append([kind] if kind in header else [f'{kind}_{i}' for i in sorted(numbered)])
    probs, indices = found
    if not probs:
        raise ValueError('expected columns prob_0, prob_1 … for all classes, or one column prob')
    if not indices and any(re.fullmatch(r'label(_\d+)?', name) for name in header):
        raise ValueError('it has the best classes without their indices: write all classes with --topk 0')
    if indices and len(indices) != len(probs):
        raise ValueError(f'it has {len(probs)} columns of probabilities and {len(indices)} of indices')
    return probs, indices


def _by_class(scores: np.ndarray, indices: np.ndarray | None) -> np.ndarray:
    """Scores (N, C) in the order of the classes."""
    count = scores.shape[1]
    if indices is not None and len(scores):
        if indices.shape != scores.shape or not np.array_equal(np.sort(indices, axis=1), np.indices(scores.shape)[1]):
            raise ValueError(f'it has the {count} best classes and not all of them: write all with --topk 0')
        by_class = np.empty_like(scores)
        np.put_along_axis(by_class, indices, scores, axis=1)
        return by_class
    # the best k without indices look like scores of k classes, but that they fall from left to right everywhere
    if len(scores) and (count == 1 or (count > 2 and (np.diff(scores, axis=1) <= 0).all())):
        raise ValueError('it has the best classes without their indices: write all classes with --topk 0')
    return scores


def _read_csv(path: str) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    with open(path, encoding='utf-8-sig', newline='') as file:
        rows = csv.reader(file)
        header = next(rows, [])
        probs, indices = _columns(header)
        name_at, prob_at, index_at = (list(map(header.index, names)) for names in (['filename'], probs, indices))
        filenames, prob_rows, index_rows = [], [], []
        for row in filter(None, rows):  # without blank lines
            if len(row) != len(header):
                raise ValueError(f'line {rows.line_num} has {len(row)} cells under a header of {len(header)}')
            filenames.append(row[name_at[0]])
            prob_rows.append(_numbers([row[i] for i in prob_at], probs == ['prob'], np.float32))
            if indices:
                index_rows.append(_numbers([row[i] for i in index_at], indices == ['index'], np.int64))
            if len(prob_rows[-1]) != len(prob_rows[0]):
                raise ValueError(f'line {rows.line_num} has another number of probabilities than the first line')
    if not filenames and probs == ['prob']:
        raise ValueError('it has no rows, and one column for all classes: their number is not known')
    scores = np.array(prob_rows, np.float32).reshape(len(filenames), -1 if filenames else len(probs))
    return filenames, scores, np.array(index_rows, np.int64).reshape(len(filenames), -1) if indices else None


def _numbers(cells: list[str], listed: bool, dtype: type) -> np.ndarray:
    """Numbers of the cells, or of the one cell with a list as numpy or Python prints it."""
    if listed:
        if '...' in cells[0]:
            raise ValueError('a list was shortened with "...": write a column for each class (--results-separate-col)')
        cells = cells[0].strip().strip('[]').replace(',', ' ').split()
    return np.array(cells, dtype=dtype)


def _read_parquet(path: str) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    try:
        import pyarrow.parquet
    except ImportError:
        hint = "pip install 'timm-vipriors[parquet]', or let inference.py write --results-format csv"
        raise ImportError(f'{path} needs pyarrow: {hint}') from None
    with open(path, 'rb') as file:
        try:
            header = pyarrow.parquet.read_schema(file).names
            probs, indices = _columns(header)
            table = pyarrow.parquet.read_table(file, columns=['filename', *probs, *indices])
            filenames = table['filename'].to_pylist()
            scores = _matrix(table, probs).astype(np.float32)
            index_rows = _matrix(table, indices).astype(np.int64) if indices else None
        except (pyarrow.ArrowException, OSError, TypeError) as e:  # damaged, or a column of something else than numbers
            raise ValueError(' '.join(str(e).split())) from e
    if not all(isinstance(name, str) for name in filenames):
        raise ValueError('expected texts in the column filename')
    return filenames, scores, index_rows


def _matrix(table, names: list[str]) -> np.ndarray:
    """The numbers (N, k) of k columns, or of one column of lists of k numbers."""
    import pyarrow
    from pyarrow import compute

    if len(names) > 1 or not pyarrow.types.is_list(table[names[0]].type):
        return np.stack([table[name].to_numpy() for name in names], axis=1)
    lists = table[names[0]]
    lengths = compute.unique(compute.list_value_length(lists)).to_pylist()
    if len(lengths) != 1:
        raise ValueError(f'the lists in the column {names[0]} differ in length, or there are none')
    return compute.list_flatten(lists).to_numpy().reshape(len(lists), lengths[0])
