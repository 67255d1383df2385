"""The whole ensembles of both papers: their results against plain numpy over their members' files."""

import csv
import sys

import numpy as np
import pytest

from ..scripts.test_training import summary
from .running import recipe
from .test_running import TINY

# an interpreter for which a run, a tree and a prediction take no time; ensembles are really made
FAKE = """#!{python}
import os, sys, zlib
import numpy as np

def value(flag):
    return words[len(words) - words[::-1].index(flag)]

command, *words = sys.argv[3:]
if command == 'train':
    folder = os.path.join(value('--output'), value('--experiment'))
    if os.path.exists(folder):
        sys.exit()  # resumed
    if '--fail' in words:
        sys.exit('out of luck')
    os.makedirs(folder)
    top1 = zlib.crc32(os.path.basename(folder).encode()) % 1000 / 10
    with open(f'{{folder}}/summary.csv', 'w') as file:
        file.write(f'epoch,eval_loss,eval_top1\\n0,1.0,99.0\\n1,1.0,{{top1}}\\n')
    open(f'{{folder}}/last.pth.tar', 'w').close()
elif command == 'hierarchy':
    open(value('-o'), 'w').close()
elif command == 'predict':
    rng = np.random.default_rng(zlib.crc32(value('-o').encode()))
    np.savez(
        value('-o'),
        scores=rng.dirichlet(np.full(5, 0.3), 300).astype(np.float32),
        filenames=np.array([f'{{i:03}}.png' for i in range(300)]),
        targets=np.arange(300) % 5,
        class_names=np.array(list('abcde')),
        model=np.array('fake'),
    )
else:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / 'fake'
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def scores_of(folder, names):
    return [np.load(folder / f'{name}.npz')['scores'] for name in names]


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


KIM = ['effnet_b7_fcl', 'effnet_b5_fcl', 'effnet_b4_fcl', 'effnet_b3_fcl_lsb', 'effnet_b3_fcl']


def test_kim(fake, tmp_path):
    recipe('kim_ensemble', 'd', cwd=tmp_path, PYTHON=fake, JOBS='2')
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    scores = scores_of(folder, [f'{name}{tta}' for name in KIM for tta in ('', '-tta')])
    assert predictions(folder / 'vote.csv') == vote(scores[0], scores[1:], 0.7)
    assert predictions(folder / 'vote.csv') != list(scores[0].argmax(1))
    assert len((folder / 'submission.csv').read_text().splitlines()) == 301


def test_vipf(fake, tmp_path):
    done = recipe('vipf_ensemble', 'd', cwd=tmp_path, PYTHON=fake, JOBS='3', NAME='v')
    folder = tmp_path / 'output' / 'train' / 'v'
    names = sorted(path.stem for path in folder.glob('*.npz'))
    assert len(names) == 16
    accuracy = {name: summary(folder / name)[-1]['eval_top1'] for name in names}
    better = set(sorted(names, key=accuracy.get)[-8:])
    mean = (
        sum(np.float64(3 if n in better else 1) * s for n, s in zip(names, scores_of(folder, names), strict=True)) / 32
    )
    assert predictions(folder / 'average.csv') == mean.argmax(1).tolist()
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.endswith(' %')}
    assert {name: float(line[3]) for name, line in lines.items()} == pytest.approx(accuracy, abs=0.01)


def test_resuming(fake, tmp_path):
    """What is whole is not done again; a member that failed is."""
    done = recipe('kim_ensemble', 'd', '--fail', cwd=tmp_path, check=False, PYTHON=fake, JOBS='2')
    assert done.returncode == 1
    assert done.stderr.startswith('a member failed: out of luck. All of it is in ')
    assert done.stderr.strip().endswith('.log; the same command resumes')
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    assert not list(folder.rglob('*.npz'))
    recipe('kim_ensemble', 'd', cwd=tmp_path, PYTHON=fake)
    (folder / 'effnet_b4_fcl-tta.npz').unlink()
    before = {path: path.stat().st_mtime_ns for path in (*folder.glob('*.npz'), *folder.glob('*/summary.csv'))}
    recipe('kim_ensemble', 'd', cwd=tmp_path, PYTHON=fake)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (folder / 'effnet_b4_fcl-tta.npz').is_file()


@pytest.mark.slow
def test_kim_on_tiny_networks(few_digits, tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = ['--model', 'test_efficientnet', *TINY, *'--epochs 3 --workers 0 -b 10 --opt adamw --lr 0.005'.split()]
    done = recipe('kim_ensemble', few_digits, *flags, cwd=tmp_path, JOBS='2', THRESHOLD='1')
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    scores = scores_of(folder, [f'{name}{tta}' for name in KIM for tta in ('', '-tta')])
    assert not any(np.array_equal(*scores[i : i + 2]) for i in range(0, 10, 2))  # TTA gives other scores
    assert predictions(folder / 'vote.csv') == vote(scores[0], scores[1:], 1)
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.endswith(' %')}
    for name in KIM:
        assert float(lines[name][3]) == pytest.approx(summary(folder / name)[-1]['eval_top1'], abs=0.01)
        assert float(lines[name][1]) > 0
