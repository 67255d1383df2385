import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import timm_vipriors
from timm_vipriors.inference import ScoreFile, Scores
from timm_vipriors.inference.join import join_files

from .score_files import names, random_scores, save


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'a.npz'


def full(count=20, classes=5):
    targets = np.arange(count) % classes - (np.arange(count) == 1)
    return Scores(random_scores(count, classes), names(count), targets, np.array(list('edcba')[:classes]), 'a model')


def assert_same(a, b):
    for field in ('scores', 'filenames', 'targets', 'class_names', 'model'):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), strict=field != 'model')


def test_the_file_is_what_the_contract_says(path):
    scores = full()
    scores.save(path)
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        np.testing.assert_array_equal(arrays['scores'], scores.scores)
        assert str(arrays['model']) == 'a model'
    assert found == {
        'scores': ((20, 5), np.dtype('float32')),
        'filenames': ((20,), np.dtype('<U14')),
        'targets': ((20,), np.dtype('int64')),
        'class_names': ((5,), np.dtype('<U1')),
        'model': ((), np.dtype('<U7')),
    }


def test_round_trip(path):
    scores = full()
    scores.save(path)
    file = ScoreFile.open(path)
    assert (len(file), file.num_classes, file.path) == (20, 5, str(path))
    assert_same(file.load(), scores)


def test_all_but_scores_and_names_may_be_absent(path):
    Scores(random_scores(), names(20)).save(path)
    with np.load(path) as arrays:
        assert set(arrays) == {'scores', 'filenames', 'model'}
    np.savez(path, scores=random_scores(), filenames=names(20))
    file = ScoreFile.open(path)
    assert (file.targets, file.class_names, file.model) == (None, None, '')


@pytest.mark.parametrize('shape', [(0, 5), (1, 1), (3, 1)])
def test_few_rows_and_classes(path, shape):
    scores = np.full(shape, 1 / shape[1], np.float32)
    save(path, scores, targets=np.zeros(shape[0], int))
    file = ScoreFile.open(path)
    assert file.read().shape == shape
    assert file.read(slice(0, 0)).shape == (0, shape[1])
    assert file.targets.dtype == np.int64


@pytest.mark.parametrize('kind', ['plain', 'compressed', 'fortran'])
@pytest.mark.parametrize(
    'rows',
    [
        slice(None),
        slice(3, 9),
        slice(15, 99),
        slice(7, 7),
        slice(None, None, -2),
        np.array([], int),
        np.array([4]),
        np.array([5, 6, 7, 2, 3, 19, 0, 0, -1]),
        np.arange(20) % 3 == 1,
    ],
    ids=str,
)
def test_rows(path, rows, kind):
    scores = random_scores()
    write = np.savez_compressed if kind == 'compressed' else np.savez
    write(path, scores=np.asfortranarray(scores) if kind == 'fortran' else scores, filenames=names(20))
    found = ScoreFile.open(path).read(rows)
    np.testing.assert_array_equal(found, scores[rows], strict=True)


@pytest.mark.parametrize('dtype', ['<f2', '<f8', '>f4', '>f8'])
def test_other_floats_become_float32(path, dtype):
    scores = random_scores(8, 1000).astype(dtype)
    np.savez(path, scores=scores, filenames=names(8))
    found = ScoreFile.open(path).read(slice(2, 5))
    np.testing.assert_array_equal(found, scores[2:5].astype('f4'), strict=True)


def test_uncompressed_scores_stay_in_the_file(path):
    save(path, random_scores())
    file = ScoreFile.open(path)
    other = random_scores(seed=1)
    with open(path, 'r+b') as raw:
        content = raw.read()
        start = content.index(random_scores().tobytes())
        raw.seek(start)
        raw.write(other.tobytes())
    np.testing.assert_array_equal(file.read(slice(4, 6)), other[4:6])


def bad_row(value):
    scores = random_scores()
    scores[7] = value
    return scores


@pytest.mark.parametrize(
    'scores, message',
    [
        (bad_row(np.nan), "'class1/007.png' has scores from nan to nan"),
        (bad_row(np.inf), 'sum to inf'),
        (bad_row([1.5, -0.5, 0, 0, 0]), 'from -0.5 to 1.5 that sum to 1: save the softmax of the logits'),
        (bad_row([3, 4, 1, 2, 8]), 'that sum to 18: '),
        (bad_row(0), 'that sum to 0'),
    ],
)
def test_no_probabilities(path, scores, message):
    np.savez(path, scores=scores, filenames=names(20))
    file = ScoreFile.open(path)
    with pytest.raises(ValueError, match=f'^{path}: expected probabilities.*{message}'):
        file.read()
    path.unlink()
    with pytest.raises(ValueError, match=message):
        save(path, scores)
    assert os.listdir(path.parent) == []


def test_bad_row_is_named_by_its_name_whatever_rows_are_read(path):
    np.savez(path, scores=bad_row(np.nan), filenames=names(20))
    with pytest.raises(ValueError, match=r'class1/007\.png'):
        ScoreFile.open(path).read(np.array([3, 7, 1]))
    assert ScoreFile.open(path).read(np.array([3, 1])).shape == (2, 5)


CONTENT = [
    ({'scores': random_scores()[0]}, r'expected scores \(images, classes\).*got \(5,\)'),
    ({'scores': np.ones((20, 5), int)}, 'in int64'),
    ({'scores': np.ones((20, 0))}, r'got \(20, 0\)'),
    ({'filenames': names(19)}, r'expected 20 file names as text, got the shape \(19,\)'),
    ({'filenames': np.arange(20)}, 'in int64'),
    ({'filenames': np.array(['a', 'b', *names(18)[:16], 'a', 'b'])}, '2 file names more than once: a, b'),
    ({'class_names': names(4)}, 'expected 5 class names'),
    ({'class_names': np.array(list('abcda'))}, '1 class name more than once: a'),
    ({'targets': np.zeros(19, int)}, 'expected 20 integer targets'),
    ({'targets': np.zeros(20)}, 'in float64'),
    ({'targets': np.arange(20) - 1}, "expected targets of 0 … 4, or -1 where unknown, got 5 for 'class0/006.png'"),
    ({'targets': np.full(20, -2)}, 'got -2'),
]


@pytest.mark.parametrize('fields, message', CONTENT)
def test_wrong_content(path, fields, message):
    np.savez(path, **{'scores': random_scores(), 'filenames': names(20), **fields})
    with pytest.raises(ValueError, match=f'^{path}: .*{message}'):
        ScoreFile.open(path)
    path.unlink()
    with pytest.raises(ValueError, match=message):
        Scores(**{'scores': random_scores(), 'filenames': names(20), **fields}).save(path)
    assert not path.exists()


@pytest.mark.parametrize('missing', ['scores', 'filenames'])
def test_missing_arrays(path, missing):
    arrays = {'scores': random_scores(), 'filenames': names(20), 'more': np.zeros(1)}
    del arrays[missing]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"it lacks {{'{missing}'}}, got the arrays .*more"):
        ScoreFile.open(path)


class Trap:
    def __reduce__(self):
        return os.mkdir, ('trap',)


@pytest.mark.parametrize('field', ['scores', 'filenames', 'class_names', 'model'])
def test_pickles_are_not_loaded(path, field, monkeypatch):
    monkeypatch.chdir(path.parent)
    trap = np.array([Trap()], dtype=object)
    arrays = {'scores': random_scores(), 'filenames': names(20), field: trap}
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f'^{path} .*without pickles: '):
        ScoreFile.open(path)
    assert not os.path.exists('trap')
    with pytest.raises(FileExistsError):  # the trap would have worked
        os.mkdir('trap')
        np.load(path, allow_pickle=True)[field]


@pytest.mark.parametrize('content', [b'', b'nothing of the kind', pickle.dumps({'scores': [1]}), b'PK\x03\x04'])
def test_no_npz(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'^{path} is no complete .npz file'):
        ScoreFile.open(path)


@pytest.mark.parametrize('write', [np.savez, np.savez_compressed])
def test_truncated_anywhere(path, write):
    write(path, scores=random_scores(), filenames=names(20))
    content = path.read_bytes()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r'is no complete \.npz file'):
            ScoreFile.open(path)


def test_no_file(path):
    with pytest.raises(FileNotFoundError, match=str(path)):
        ScoreFile.open(path)
    with pytest.raises(FileNotFoundError, match=r"there is no such folder: '.*nowhere'"):
        full().save(path.parent / 'nowhere' / 'a.npz')


def test_a_score_file_is_not_called_as_another_kind_of_file(path):
    for name in ('a.csv', 'a.parquet', 'a.txt'):
        with pytest.raises(ValueError, match=r'must end in \.npz'):
            full().save(path.with_name(name))
    full().save(path.with_name('a.NPZ'))
    assert os.listdir(path.parent) == ['a.NPZ']


def test_save_goes_over_its_own_file(path):
    full().save(path)
    ScoreFile.open(path).load().save(path)
    assert_same(ScoreFile.open(path).load(), full())


def test_import_is_light():
    """Of what the package needs these modules load nothing but numpy."""
    code = (
        'import sys, types\n'
        'package = types.ModuleType("timm_vipriors")\n'  # in its place, since it imports torch
        f'package.__path__ = {list(timm_vipriors.__path__)}\n'
        'sys.modules["timm_vipriors"] = package\n'
        'import timm_vipriors.inference.timm_results, timm_vipriors.inference\n'
        'import timm_vipriors.commands.ensemble\n'
        'found = {"scipy", "matplotlib", "pandas", "pyarrow", "tqdm", "timm", "torch", "PIL"} & set(sys.modules)\n'
        'assert not found, found\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_the_first_file_that_is_broken_is_named(tmp_path):
    paths = [save(tmp_path / f'{name}.npz', random_scores(3, 4)) for name in 'abc']
    for name in 'bc':
        (tmp_path / f'{name}.npz').write_bytes(b'junk')
    with pytest.raises(ValueError, match=r'b\.npz'):
        join_files(paths)
