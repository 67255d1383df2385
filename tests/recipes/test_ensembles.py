"""The whole ensembles of both papers, on tiny networks: their results against plain numpy over their members' files."""

import csv

import numpy as np
import pytest

from ..scripts.test_training import summary
from .running import dry_run, recipe
from .test_running import TINY

pytestmark = pytest.mark.slow


def predictions(path):
    with open(path, newline='') as file:
        return [int(row['prediction']) for row in csv.DictReader(file)]


def vote(base, members, threshold):
    """Algorithm 1, image by image; a tie goes to the class with the highest summed score among the tied."""
    result = []
    for j, s in enumerate(base):
        if s.max() >= threshold:
            result.append(int(s.argmax()))
            continue
        votes = np.bincount([member[j].argmax() for member in (base, *members)], minlength=base.shape[1])
        sums = sum(member[j].astype(np.float64) for member in (base, *members))
        result.append(int(max(np.flatnonzero(votes == votes.max()), key=lambda c: sums[c])))
    return result


def test_kim(few_digits, tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = ['--model', 'test_efficientnet', *TINY, *'--epochs 4 --workers 0 -b 10 --opt adamw --lr 0.005'.split()]
    done = recipe('kim_ensemble', few_digits, *flags, cwd=tmp_path, JOBS='2', THRESHOLD='1')
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    networks = ['effnet_b7_fcl', 'effnet_b5_fcl', 'effnet_b4_fcl', 'effnet_b3_fcl_lsb', 'effnet_b3_fcl']
    scores = [np.load(folder / f'{name}{tta}.npz')['scores'] for name in networks for tta in ('', '-tta')]
    assert not any(np.array_equal(*scores[i : i + 2]) for i in range(0, 10, 2))  # TTA gives other scores
    assert predictions(folder / 'vote.csv') == vote(scores[0], scores[1:], 1)
    assert predictions(folder / 'vote.csv') != list(scores[0].argmax(1))
    assert len((folder / 'submission.csv').read_text().splitlines()) == 41
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.endswith(' %')}
    for name in networks:
        assert float(lines[name][3]) == pytest.approx(summary(folder / name)[-1]['eval_top1'], abs=0.01)
        assert float(lines[name][1]) > 0

    # the same command resumes: what is whole is not done again
    (folder / 'effnet_b4_fcl-tta.npz').unlink()
    before = {path: path.stat().st_mtime_ns for path in (*folder.glob('*.npz'), *folder.glob('*/summary.csv'))}
    recipe('kim_ensemble', few_digits, *flags, cwd=tmp_path, JOBS='2', THRESHOLD='0.2')
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (folder / 'effnet_b4_fcl-tta.npz').is_file()
    assert predictions(folder / 'vote.csv') == vote(scores[0], scores[1:], 0.2)


def test_vipf(few_digits, tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = ['--model', 'test_dsk_resnext', *TINY, '--workers', '0', '-b', '20']
    recipe('vipf_ensemble', few_digits, *flags, cwd=tmp_path, JOBS='2', NAME='v')
    folder = tmp_path / 'output' / 'train' / 'v'
    names = sorted(path.stem for path in folder.glob('*.npz'))
    assert len(names) == 16
    accuracy = {name: summary(folder / name)[-1]['eval_top1'] for name in names}
    scores = {name: np.load(folder / f'{name}.npz')['scores'].astype(np.float64) for name in names}
    (line,) = (words for words in dry_run('vipf_ensemble', 'd', cwd=tmp_path, NAME='v') if 'average' in words)
    assert {word.rsplit('/')[-1].split('.npz')[0] for word in line if '.npz:' in word} == set(names)
    border = sorted(accuracy.values())[8]
    ties = [name for name in names if accuracy[name] == border]
    better = {name for name in names if accuracy[name] > border}
    possible = []
    for first in range(len(ties)):  # which of the tied ones are among the eight is not ours to say
        chosen = better | set((ties[first:] + ties[:first])[: 8 - len(better)])
        mean = sum(scores[name] * (3 if name in chosen else 1) for name in names) / 32
        possible.append(mean.argmax(1).tolist())
    assert predictions(folder / 'average.csv') in possible
    assert len((folder / 'submission.csv').read_text().splitlines()) == 41


def test_a_member_that_fails(few_digits, tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    done = recipe('kim_ensemble', few_digits, '--model', 'nothing', cwd=tmp_path, check=False, JOBS='2')
    assert done.returncode == 1
    assert 'a member failed: ' in done.stderr
    assert done.stderr.strip().endswith('.log; the same command resumes')
    assert not list((tmp_path / 'output').rglob('*.npz'))
