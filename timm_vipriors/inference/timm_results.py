"""Results of timm's inference.py, .csv and .parquet, read as scores.

They must have the probabilities of all classes: by `--topk C --include-index`, with the class of each, or by `--topk
0`, in the order of the classes.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import repeated

if TYPE_CHECKING:
    import pandas

_logger = logging.getLogger(__name__)
_FLAGS = '--output-type prob --topk 0 --results-separate-col --fullname'
_NO_INDICES = 'they may be the best classes without their indices: write these with --include-index'


def read_timm_results(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the file names (N,) and the scores (N, C), which are not yet checked to be probabilities.

    Raises:
        ValueError: If the file does not have the probabilities of all classes, or not the class of each.
        OSError: If it cannot be opened.
        ImportError: If pandas, or for .parquet pyarrow, is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ('.csv', '.parquet'):
        raise ValueError(f'{path}: expected .npz, or .csv or .parquet of inference.py, got {suffix}')
    try:
        import pandas

        if suffix == '.csv':
            frame = pandas.read_csv(path, dtype={'filename': str}, keep_default_na=False, encoding='utf-8-sig')
        else:
            frame = pandas.read_parquet(path)
        return _read_frame(path, frame)
    except ImportError as e:
        raise ImportError(f"{path} needs pandas and pyarrow: pip install 'timm-vipriors[results]'") from e
    except FileNotFoundError:
        raise
    except Exception as e:  # pandas and pyarrow have many of their own
        said = ' '.join(str(e).split())
        raise ValueError(f"{path} has no scores as timm's inference.py writes them with {_FLAGS}: {said}") from e


def _read_frame(path: str, frame: 'pandas.DataFrame') -> tuple[np.ndarray, np.ndarray]:
    if frame.index.name == 'filename':
        frame = frame.reset_index()
    columns = list(map(str, frame.columns))
    if 'filename' not in columns or list(frame.index) != list(range(len(frame))):  # an index: cells without a header
        raise ValueError(f'expected a header with filename and a name for each column, got {", ".join(columns[:5])}')
    if any(re.fullmatch(r'logit(_\d+)?', name) for name in columns):
        raise ValueError('it has logits: write probabilities with --output-type prob')
    if repeated(frame['filename']):
        raise ValueError('a file name occurs more than once: write them with their folders (--fullname)')
    scores, indices = _matrix(frame, 'prob'), _matrix(frame, 'index')
    if scores is None:
        raise ValueError('expected columns prob_0, prob_1 … for all classes, or one column prob')
    scores = scores.astype(np.float32)
    if indices is None:
        if any(re.fullmatch(r'label(_\d+)?', name) for name in columns):
            raise ValueError(_NO_INDICES)
        _check_order(path, scores)
    elif np.array_equal(np.sort(indices, axis=1), np.indices(scores.shape)[1]):
        scores = np.take_along_axis(scores, np.argsort(indices, axis=1), axis=1)
    else:
        raise ValueError(f'it has the {indices.shape[1]} best classes and not all of them: write all with --topk 0')
    return np.array(frame['filename'], dtype=str), scores


def _matrix(frame: 'pandas.DataFrame', kind: str) -> np.ndarray | None:
    """The numbers (N, k) of the columns kind_0, kind_1 …, or of one column of numbers or lists; None without any."""
    if kind in frame:
        return np.stack([_numbers(cell) for cell in frame[kind]])
    count = sum(bool(re.fullmatch(rf'{kind}_[0-9]+', str(name))) for name in frame)
    return frame[[f'{kind}_{i}' for i in range(count)]].to_numpy(np.float64) if count else None


def _numbers(cell: object) -> np.ndarray:
    """The numbers of a cell: one, or a list, in a .csv file as numpy or Python prints it."""
    if isinstance(cell, str):
        if '...' in cell:
            raise ValueError('a list was shortened with "...": write a column for each class (--results-separate-col)')
        cell = cell.strip().strip('[]').replace(',', ' ').split()
    return np.array(cell, np.float64).reshape(-1)


def _check_order(path: str, scores: np.ndarray) -> None:
    """Raise if probabilities without indices may be sorted, as `--topk C --label-type none` writes them.

    A row that rises somewhere is not sorted. A single short row may fall by chance.
    """
    count, classes = scores.shape
    if count and (classes == 1 or (np.diff(scores, axis=1) <= 0).all()):
        if count > 1 or not 1 < classes <= 4:
            raise ValueError(f'all probabilities fall from left to right: {_NO_INDICES}')
        _logger.warning(f'{path} has one image and no indices: its columns are taken to be in the order of the classes')
