import csv
import importlib.util
import runpy
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from timm_vipriors.inference import ScoreFile

from .score_files import random_scores

SCORES = random_scores(6, 4)
NAMES = [f'{i}.png' for i in range(6)]
ORDER = np.argsort(-SCORES, axis=1, kind='stable')
SORTED = np.take_along_axis(SCORES, ORDER, axis=1)


def write(path, header, columns):
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))
    return path


def numbered(name, count=4):
    return [f'{name}_{i}' for i in range(count)]


def as_numpy_prints(rows):
    return [np.array2string(row, threshold=sys.maxsize) for row in rows]


FORMS = {
    'a column for each class': (numbered('prob'), SCORES.T),
    'a list': (['prob'], [as_numpy_prints(SCORES)]),
    "a list of Python's": (['prob'], [[str(row.tolist()) for row in SCORES]]),
    'top C in columns': ([*numbered('index'), *numbered('label'), *numbered('prob')], [*ORDER.T, *ORDER.T, *SORTED.T]),
    'top C in lists': (['index', 'prob'], [as_numpy_prints(ORDER), as_numpy_prints(SORTED)]),
}


@pytest.mark.parametrize('form', FORMS)
def test_forms(tmp_path, form):
    header, columns = FORMS[form]
    path = write(tmp_path / 'model-224.CSV', ['filename', *header], [NAMES, *columns])
    file = ScoreFile.open(path)
    assert (file.model, len(file), file.num_classes) == ('model-224', 6, 4)
    assert (file.targets, file.class_names) == (None, None)
    assert file.filenames.tolist() == NAMES
    np.testing.assert_allclose(file.read(), SCORES, rtol=1e-6)
    np.testing.assert_array_equal(file.read(slice(2, 4)), file.read()[2:4], strict=True)


def test_long_lists_go_over_several_lines(tmp_path):
    scores = random_scores(3, 200)
    cells = as_numpy_prints(scores)
    assert '\n' in cells[0]
    path = write(tmp_path / 'a.csv', ['filename', 'prob'], [NAMES[:3], cells])
    np.testing.assert_allclose(ScoreFile.open(path).read(), scores, atol=1e-7)


def test_no_rows(tmp_path):
    path = write(tmp_path / 'a.csv', ['filename', *numbered('prob')], [[]] * 5)
    assert ScoreFile.open(path).read().shape == (0, 4)


SHORTENED = np.array2string(random_scores(1, 2000)[0], threshold=10)
TOP2 = [*ORDER.T[:2], *SORTED.T[:2]]
WRONG = [
    (['logit'], [as_numpy_prints(SCORES)], '--output-type prob'),
    (numbered('logit'), SCORES.T, '--output-type prob'),
    (['prob'], [[SHORTENED] * 6], 'shortened with "...".*--results-separate-col'),
    ([*numbered('index', 2), *numbered('prob', 2)], TOP2, 'the 2 best classes and not all.*--topk 0'),
    (['index', 'prob'], [as_numpy_prints(ORDER[:, :2]), as_numpy_prints(SORTED[:, :2])], 'the 2 best classes'),
    (['index', 'label', 'prob'], [ORDER[:, 0], ORDER[:, 0], SORTED[:, 0]], 'the 1 best classes'),
    (['prob'], [SORTED[:, 0]], 'the best classes without their indices'),
    (['label', 'prob'], [ORDER[:, 0], SORTED[:, 0]], 'the best classes without their indices'),
    (numbered('prob'), SORTED.T, 'the best classes without their indices'),
    (['prob'], [as_numpy_prints(SORTED)], 'the best classes without their indices'),
    (['prob_0', 'prob_1', 'prob_3', 'prob_4'], SCORES.T, r"\['prob_2'\] not in index"),
    (['score'], [SCORES[:, 0]], 'expected columns prob_0'),
    (numbered('prob'), [*SCORES.T[:3], ['x'] * 6], 'could not convert'),
    (['prob'], [[*as_numpy_prints(SCORES[:5]), '[1. 0.]']], 'must have the same shape'),
]


@pytest.mark.parametrize('header, columns, message', WRONG)
def test_what_is_no_probabilities_of_all_classes(tmp_path, header, columns, message):
    path = write(tmp_path / 'a.csv', ['filename', *header], [NAMES, *columns])
    with pytest.raises(ValueError, match=f'(?s)^{path} has no scores as .*{message}'):
        ScoreFile.open(path)


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'No columns'),
        ('file,prob_0\na,1\n', 'expected a header with filename .*, got file, prob_0'),
        ('filename,prob_0,prob_1\na,0.1,0.9\nb,0.4\n', 'could not convert'),
        ('filename,prob_0,prob_1\na,0.1,0.9\na,0.4,0.6\n', 'more than once: .*--fullname'),
        ('filename,prob_0,prob_1\na,b,0.1,0.9\n', 'expected a header with filename'),
    ],
)
def test_wrong_text(tmp_path, text, message):
    path = tmp_path / 'a.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        ScoreFile.open(path)


def two_classes(tmp_path, rows, header=('prob_0', 'prob_1')):
    names = [f'{i}.png' for i in range(len(rows))]
    return write(tmp_path / 'a.csv', ['filename', *header], [names, *np.transpose(rows)])


def test_two_classes_best_first_are_not_read_in_the_order_of_the_classes(tmp_path):
    """`--topk 2 --label-type none` writes the columns of `--topk 0`, but with the best class first."""
    with pytest.raises(ValueError, match=r'may be the best classes without their indices.*--include-index'):
        ScoreFile.open(two_classes(tmp_path, [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]))
    path = two_classes(tmp_path, [[0, 1, 0.9, 0.1], [1, 0, 0.6, 0.4]], [*numbered('index', 2), *numbered('prob', 2)])
    np.testing.assert_allclose(ScoreFile.open(path).read(), [[0.9, 0.1], [0.4, 0.6]])
    path = two_classes(tmp_path, [[0.9, 0.1], [0.4, 0.6]])  # a row that rises: the order of the classes
    np.testing.assert_allclose(ScoreFile.open(path).read(), [[0.9, 0.1], [0.4, 0.6]])


def test_one_row_is_valid(tmp_path, caplog):
    for row, said in (([0.4, 0.6], 0), ([0.6, 0.4], 1)):
        caplog.clear()
        path = two_classes(tmp_path, [row])
        np.testing.assert_allclose(ScoreFile.open(path).read(), [row])
        assert caplog.text.count('has one image and no indices') == said
    header = ['label_0', 'label_1', 'prob_0', 'prob_1']
    with pytest.raises(ValueError, match='without their indices'):
        ScoreFile.open(two_classes(tmp_path, [[1, 0, 0.4, 0.6]], header))


def test_no_text(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_bytes(b'filename,prob_0\n\xff,1\n')
    with pytest.raises(ValueError, match='has no scores'):
        ScoreFile.open(path)


def test_other_formats(tmp_path):
    with pytest.raises(ValueError, match=r'expected .npz, or .csv or .parquet .*, got .json'):
        ScoreFile.open(tmp_path / 'a.json')


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        ScoreFile.open(tmp_path / 'a.csv')


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    (tmp_path / 'a.parquet').touch()
    for missing in ('pyarrow', 'pandas'):
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(ImportError, match=r"a.parquet needs .*pip install 'timm-vipriors\[results\]'"):
            ScoreFile.open(tmp_path / 'a.parquet')


PARQUET_FORMS = {
    'a column for each class': dict(zip(numbered('prob'), SCORES.T, strict=True)),
    'a list': {'prob': list(SCORES)},
    'top C in lists': {'index': list(ORDER), 'prob': list(SORTED)},
    'top C in columns': dict(zip([*numbered('index'), *numbered('prob')], [*ORDER.T, *SORTED.T], strict=True)),
}


@pytest.mark.parametrize('form', PARQUET_FORMS)
def test_parquet(tmp_path, form):
    pyarrow, parquet = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    path = tmp_path / 'a.parquet'
    table = pyarrow.table({'filename': NAMES, **PARQUET_FORMS[form]})
    parquet.write_table(table, path, row_group_size=4)
    file = ScoreFile.open(path)
    assert file.filenames.tolist() == NAMES
    np.testing.assert_array_equal(file.read(), SCORES, strict=True)


@pytest.mark.parametrize(
    'columns, message',
    [
        ({'prob': SORTED[:, 0]}, 'the best classes without'),
        ({'logit': list(SCORES)}, '--output-type prob'),
        ({'prob': [[0.6, 0.3]] * 6, 'index': [[2, 0]] * 6}, 'the 2 best classes'),
        ({'prob': ['a'] * 6}, 'could not convert'),
    ],
)
def test_wrong_parquet(tmp_path, columns, message):
    pyarrow, parquet = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    path = tmp_path / 'a.parquet'
    parquet.write_table(pyarrow.table({'filename': NAMES, **columns}), path)
    with pytest.raises(ValueError, match=f'^{path} has no scores.*{message}'):
        ScoreFile.open(path)


def test_no_parquet(tmp_path):
    pytest.importorskip('pyarrow')
    path = tmp_path / 'a.parquet'
    path.write_bytes(b'nothing of the kind')
    with pytest.raises(ValueError, match=f'^{path} has no scores'):
        ScoreFile.open(path)


def test_results_that_timm_wrote(timm_scripts, tmp_path, monkeypatch):
    """The flags that messages name, with timm's own script: columns and lists, all classes and the best of all."""
    pytest.importorskip('pandas')
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / 'data' / 'validation' / f'class{i % 3}'
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(folder / f'{i // 3}.png')
    model = timm.create_model('test_resnet', num_classes=10)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    formats = ['csv', 'parquet'] if importlib.util.find_spec('pyarrow') else ['csv']
    monkeypatch.chdir(tmp_path)

    def infer(name, flags):
        line = (
            f'data --model test_resnet --checkpoint weights.pth --img-size 32 --num-classes 10 --device cpu '
            f'--workers 1 --fullname --no-console-results --label-type none --results-file {name} {flags}'
        )
        monkeypatch.setattr(sys, 'argv', ['inference.py', *line.split(), '--results-format', *formats])
        with np.printoptions():  # the script sets them
            runpy.run_path(str(timm_scripts / 'inference.py'), run_name='__main__')
        return [tmp_path / f'{name}.{suffix}' for suffix in formats]

    for path in infer('columns', '--topk 0 --results-separate-col'):
        expected = ScoreFile.open(path)
        assert (len(expected), expected.num_classes) == (12, 10)
        assert all((tmp_path / 'data' / 'validation' / name).is_file() for name in expected.filenames)
    for name, flags in (
        ('lists', '--topk 0'),
        ('best-columns', '--topk 10 --include-index --results-separate-col'),
        ('best-lists', '--topk 10 --include-index'),
    ):
        for path in infer(name, flags):
            file = ScoreFile.open(path)
            np.testing.assert_array_equal(file.filenames, expected.filenames)
            np.testing.assert_allclose(file.read(), expected.read(), atol=1e-6)
    for name, flags, message in (
        ('no-indices', '--topk 10 --results-separate-col', 'without their indices'),
        ('top5', '--topk 5 --include-index --results-separate-col', 'the 5 best classes'),
        ('top1', '', 'without their indices'),
        ('logits', '--topk 0 --output-type logit', '--output-type prob'),
    ):
        for path in infer(name, flags):
            with pytest.raises(ValueError, match=message):
                ScoreFile.open(path)
