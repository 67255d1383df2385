"""Score files from anyone: what is accepted is what numpy reads without pickles, and is probabilities."""

import csv
import io
import os
import random
import re
import zipfile

import numpy as np
import pytest

from timm_vipriors.inference.join import join
from timm_vipriors.inference.scores import ScoreFile

from ..inference.score_files import names, random_scores
from .cases import ACCEPTED, REFUSED, at_scale, attempt, damaged, run_cases


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def _fields(rng: random.Random) -> dict[str, np.ndarray]:
    rows, classes = rng.randint(1, 6), rng.randint(1, 5)
    fields = {'scores': random_scores(rows, classes, rng.randrange(99)), 'filenames': names(rows)}
    if rng.random() < 0.5:
        fields['targets'] = np.array([rng.randrange(-1, classes) for _ in range(rows)])
    if rng.random() < 0.5:
        fields['class_names'] = np.array([f'c{i}' for i in range(classes)])
    if rng.random() < 0.5:
        fields['model'] = np.array('model')
    return fields


def _change(rng: random.Random, fields: dict[str, np.ndarray], canary: str) -> None:
    """Change one array to something that may be wrong."""
    key = rng.choice(list(fields))
    array = fields[key]
    how = rng.choice(['dtype', 'shape', 'value', 'gone', 'object', 'more', 'order', 'endian', 'twice', 'name'])
    if how == 'dtype':
        kinds = ['f2', 'f4', 'f8', 'longdouble', 'i8', 'u1', 'c8', 'bool', 'S9', 'U9', 'V4', 'm8[s]', 'M8[s]']
        with np.errstate(all='ignore'):
            try:
                fields[key] = array.astype(rng.choice(kinds))
            except (ValueError, TypeError):
                fields[key] = np.zeros(array.shape, rng.choice(['V4', 'M8[s]', 'f2,i4']))
    elif how == 'shape':
        shapes = [array.reshape(-1), array[None], array[..., :0] if array.ndim else array[None], np.zeros((0, 3), 'f4')]
        fields[key] = rng.choice(shapes)
    elif how == 'value' and array.size and array.dtype.kind in 'fi':
        fields[key] = array.copy()
        value = rng.choice([np.nan, np.inf, -np.inf, -1e-3, 2.0, 1e38] if array.dtype.kind == 'f' else [-2, 99, 2**40])
        fields[key].flat[rng.randrange(array.size)] = value
    elif how == 'gone':
        del fields[key]
    elif how == 'object':
        fields[key] = np.array([Touch(canary)] * max(1, len(array) if array.ndim else 1), dtype=object)
    elif how == 'more':
        fields['other'] = array
    elif how == 'order' and array.ndim > 1:
        fields[key] = np.asfortranarray(array)
    elif how == 'endian':
        fields[key] = array.astype(array.dtype.newbyteorder('>'))
    elif how == 'twice' and array.ndim:
        fields[key] = np.repeat(array[:1], len(array), axis=0)
    elif how == 'name' and array.dtype.kind == 'U':
        fields[key] = array.astype('U20')
        fields[key].flat[0] = rng.choice(['', '../../x', '/etc/passwd', '<script>', 'a\nb', '\udcff', 'ü', 'x' * 20])


def _content(rng: random.Random, canary: str) -> bytes:
    fields = _fields(rng)
    for _ in range(rng.randrange(3)):
        if fields:
            _change(rng, fields, canary)
    out = io.BytesIO()
    rng.choice([np.savez, np.savez_compressed])(out, **fields)
    if rng.random() < 0.1:  # as another program packs it
        packed = io.BytesIO()
        how = rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        with zipfile.ZipFile(out) as old, zipfile.ZipFile(packed, 'w', how) as new:
            for info in old.infolist():
                new.writestr(info.filename, old.read(info))
        out = packed
    return out.getvalue()


def _header_changed(rng: random.Random, content: bytes) -> bytes:
    """The text of an array's header changed, with a checksum that fits."""
    out = io.BytesIO()
    changes = [
        (rb"'shape': \([^)]*\)", rb"'shape': (-1, 5)"),
        (rb"'shape': \([^)]*\)", rb"'shape': (99999999999, 99)"),
        (rb"'shape': \([^)]*\)", rb"'shape': 'x'    "),
        (rb"'descr': '[^']*'", rb"'descr': '|O'"),
        (rb"'descr': '[^']*'", rb"'descr': 'zz'"),
        (rb"'descr': '[^']*'", rb"'descr': [('a', '<f4')]"),
        (rb"'fortran_order': \w+", rb"'fortran_order': 7"),
        (rb'\{', rb'(('),
        (rb'\}', rb'"'),
        (rb'descr', rb"a'\n b"),
        (rb'NUMPY\x01', rb'NUMPY\x03'),
        (rb'NUMPY\x01', rb'NUMPY\xff'),
    ]
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, 'w') as new:
        chosen = rng.choice(['', *old.namelist()])
        for name in old.namelist():
            data = old.read(name)
            if name == chosen:
                pattern, text = rng.choice(changes)
                changed = re.sub(pattern, lambda _, text=text: text, data[:128], count=1)
                data = changed[:128].ljust(128, b' ') + data[128:]
            new.writestr(name, data)
    return out.getvalue()


def _oracle(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in ('scores', 'filenames', 'targets', 'class_names', 'model') if key in file}


@at_scale(150, 4000)
def test_score_files(number, tmp_path):
    path, canary = str(tmp_path / 'scores.npz'), tmp_path / 'canary'

    def check(rng) -> str:
        content = _content(rng, str(canary))
        if rng.random() < 0.3:
            content = damaged(rng, content)
        elif rng.random() < 0.3 and zipfile.is_zipfile(io.BytesIO(content)):
            content = _header_changed(rng, content)
        with open(path, 'wb') as file:
            file.write(content)
        scores, sentence = attempt(lambda: ScoreFile.open(path).load(), path)
        assert not canary.exists()
        if sentence is not None:
            return REFUSED
        there = _oracle(path)
        assert np.array_equal(scores.scores, there['scores'].astype(np.float32))
        assert np.isfinite(scores.scores).all()
        assert (np.abs(scores.scores.sum(axis=1) - 1) < 0.02).all()
        assert scores.filenames.tolist() == there['filenames'].tolist()
        assert len(set(scores.filenames.tolist())) == len(scores.filenames)
        for key in ('targets', 'class_names'):
            ours, theirs = getattr(scores, key), there.get(key)
            assert (ours is None) == (theirs is None)
            assert ours is None or ours.tolist() == theirs.astype(ours.dtype).tolist()
        assert scores.model == str(there.get('model', ''))
        return ACCEPTED

    outcomes = run_cases('score files', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > number / 10


def test_the_canary_would_sing(tmp_path):
    """The object arrays of the cases do run code where pickles are allowed."""
    np.savez(tmp_path / 'x.npz', a=np.array([Touch(tmp_path / 'canary')], dtype=object))
    np.load(tmp_path / 'x.npz', allow_pickle=True)['a']
    assert (tmp_path / 'canary').exists()


@at_scale(30, 600)
def test_no_flipped_bit_goes_unseen(number, tmp_path):
    """A bit of the scores themselves: the sum of a row may still be one, so only the checksum tells."""
    path = tmp_path / 'scores.npz'
    np.savez(path, scores=random_scores(50, 4), filenames=names(50))
    content, scores = path.read_bytes(), random_scores(50, 4).tobytes()
    begin = content.index(scores)

    def check(rng) -> str:
        data = bytearray(content)
        data[begin + rng.randrange(len(scores))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        _, sentence = attempt(lambda: ScoreFile.open(path).load(), str(path))
        assert sentence is not None
        return REFUSED

    run_cases('damaged scores', number, check)


def test_a_file_that_says_it_is_huge(tmp_path):
    """A directory entry with another size than the bytes there, which no memory could hold."""
    path = tmp_path / 'scores.npz'
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {'descr': '<f4', 'fortran_order': False, 'shape': (2**40, 2)})
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('scores.npy', header.getvalue() + b'\0' * 64)
        archive.writestr('filenames.npy', b'')
        info = archive.infolist()[0]
        info.file_size = info.compress_size = len(header.getvalue()) + 2**43
    with pytest.raises(ValueError, match=str(path)):
        ScoreFile.open(path).read()


def _csv_content(rng: random.Random) -> str:
    rows, classes = rng.randint(1, 5), rng.randint(2, 5)
    scores = random_scores(rows, classes, rng.randrange(99))
    header = ['filename', *(f'prob_{i}' for i in range(classes))]
    if rng.random() < 0.2:
        header[rng.randrange(len(header))] = rng.choice(
            ['prob_9', 'prob_0', 'logit_0', '', 'label_0', 'filename', 'prob_٣']
        )
    lines = [header, *([f'a/{i}.png', *map(str, row)] for i, row in enumerate(scores))]
    if rng.random() < 0.6:
        line = lines[rng.randrange(len(lines))]
        odd = ['nan', 'inf', '-1', '1e999', '', 'x', '0x1', '1_0', '٣', 'a/0.png', '"', '1,5', '=cmd()']
        line[rng.randrange(len(line))] = rng.choice(odd)
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue()


@at_scale(60, 1200)
def test_csv_results(number, tmp_path):
    path = tmp_path / 'results.csv'

    def check(rng) -> str:
        content = _csv_content(rng).encode()
        path.write_bytes(damaged(rng, content) if rng.random() < 0.3 else content)
        scores, sentence = attempt(lambda: ScoreFile.open(path).load(), str(path))
        if sentence is not None:
            return REFUSED
        with open(path, encoding='utf-8-sig', newline='') as file:
            rows = list(csv.DictReader(file))
        assert scores.filenames.tolist() == [row['filename'] for row in rows]
        theirs = [[float(row[f'prob_{i}']) for i in range(scores.scores.shape[1])] for row in rows]
        assert np.allclose(scores.scores, np.array(theirs, np.float32).reshape(scores.scores.shape), rtol=0, atol=1e-7)
        assert (np.abs(scores.scores.sum(axis=1) - 1) < 0.02).all()
        return ACCEPTED

    outcomes = run_cases('results of timm as CSV', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > number / 10


@at_scale(30, 600)
def test_joined_files(number, tmp_path):
    """Rows and columns that are joined belong together by their names."""

    def check(rng) -> str:
        paths, truth = [], {}
        for i in range(2):
            rows, classes = rng.choice([3, 3, 3, 4]), rng.choice([3, 3, 3, 2])
            files = [f'{"abcd"[j]}.png' for j in range(rows)]
            labels = [f'c{j}' for j in range(classes)]
            rng.shuffle(files), rng.shuffle(labels)
            scores = random_scores(rows, classes, rng.randrange(99))
            paths.append(str(tmp_path / f'{i}.npz'))
            np.savez(paths[-1], scores=scores, filenames=np.array(files), class_names=np.array(labels))
            truth[i] = {(f, c): scores[j, k] for j, f in enumerate(files) for k, c in enumerate(labels)}
        joined, sentence = attempt(lambda: join(map(ScoreFile.open, paths)))
        assert (sentence is None) == (truth[0].keys() == truth[1].keys())
        if sentence is not None:
            return REFUSED
        for i, member in enumerate(joined.members):
            scores = member.read()
            for j, file in enumerate(joined.filenames.tolist()):
                for k, label in enumerate(joined.class_names.tolist()):
                    assert scores[j, k] == truth[i][file, label]
        return ACCEPTED

    outcomes = run_cases('joined score files', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0
