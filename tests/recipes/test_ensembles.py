"""The whole ensembles of both papers: their results against plain numpy over their members' files."""

import csv
import shlex
from pathlib import Path

import numpy as np
import pytest

from timm_vipriors.cli import main

from ..scripts.test_training import summary
from .running import recipe
from .test_running import TINY

# an interpreter for which a run, a tree and a prediction take no time. Scores come from a pool; what combines them is
# noted, and done in the test's own process, as starting torch takes seconds
FAKE = r"""#!/usr/bin/env bash
shift 2
args=("$@")
value() { for ((i = ${#args[@]} - 1; ; i--)); do [ "${args[i]}" != "$1" ] || break; done; echo "${args[i + 1]}"; }
case $1 in
train)
    folder=$(value --output)/$(value --experiment)
    [ ! -d "$folder" ] || exit 0 # resumed
    [[ $* != *--fail* ]] || { echo out of luck; exit 1; }
    mkdir -p "$folder"
    top1=$(cksum <<<"$folder")
    printf 'epoch,eval_loss,eval_top1\n0,1.0,99.0\n1,1.0,%s\n' "${top1:0:2}.25" >"$folder/summary.csv"
    touch "$folder/last.pth.tar"
    ;;
hierarchy) touch "$(value -o)" ;;
predict)
    files=("$(dirname "$0")"/pool/*)
    cp "${files[0]}" "$(value -o)"
    rm "${files[0]}"
    ;;
*) printf '%q ' "$@" >"$(dirname "$0")/$1" ;;
esac
"""


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / 'bin' / 'fake'
    (path.parent / 'pool').mkdir(parents=True)
    path.write_text(FAKE)
    path.chmod(0o755)
    rng = np.random.default_rng(0)
    for number in range(50):
        np.savez(
            path.parent / 'pool' / f'{number:02}.npz',
            scores=rng.dirichlet(np.full(5, 0.3), 300).astype(np.float32),
            filenames=np.array([f'{i:03}.png' for i in range(300)]),
            targets=np.arange(300) % 5,
            class_names=np.array(list('abcde')),
            model=np.array('fake'),
        )
    return str(path)


@pytest.fixture
def do(fake, tmp_path, monkeypatch):
    """A function that does what a recipe wanted to do, its `ensemble` or `subset`, and returns the exit status."""
    monkeypatch.chdir(tmp_path)
    return lambda command: main(shlex.split(Path(fake).with_name(command).read_text()))


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


def test_kim(fake, do, tmp_path):
    recipe('kim_ensemble', 'd', cwd=tmp_path, PYTHON=fake, JOBS='2')
    assert do('ensemble') == 0
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    scores = scores_of(folder, [f'{name}{tta}' for name in KIM for tta in ('', '-tta')])
    assert predictions(folder / 'vote.csv') == vote(scores[0], scores[1:], 0.7)
    assert predictions(folder / 'vote.csv') != list(scores[0].argmax(1))
    assert len((folder / 'submission.csv').read_text().splitlines()) == 301


def average(folder):
    """VIPF's average of the files in a folder: 3 for those not below the median accuracy in held_out, otherwise 1."""
    names = sorted(path.stem for path in folder.glob('*.npz'))
    assert sorted(path.stem for path in (folder / 'held_out').glob('*.npz')) == names
    top1 = {}
    for name in names:
        held_out = np.load(folder / 'held_out' / f'{name}.npz')
        top1[name] = (held_out['scores'].argmax(1) == held_out['targets']).mean()
    weights = [3 if top1[name] >= np.median(list(top1.values())) else 1 for name in names]
    scores = [np.load(folder / f'{name}.npz')['scores'].astype(np.float64) for name in names]
    return sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights), weights


def listed(stdout):
    """The lines about the time and accuracy of each member, by its name."""
    return {line.split()[0]: line.split() for line in stdout.splitlines() if ' min ' in line}


def test_vipf(fake, do, tmp_path):
    (tmp_path / 'test').mkdir()
    done = recipe('vipf_ensemble', 'd', cwd=tmp_path, PYTHON=fake, JOBS='3', NAME='v', TEST='test')
    assert do('ensemble') == 0
    folder = tmp_path / 'output' / 'train' / 'v'
    mean, weights = average(folder)
    assert len(weights) == 16 and sorted(set(weights)) == [1, 3]
    assert predictions(folder / 'average.csv') == mean.argmax(1).tolist()
    for name, line in listed(done.stdout).items():
        assert float(line[3]) == pytest.approx(summary(folder / name)[-1]['eval_top1'], abs=0.01)
    assert len(listed(done.stdout)) == 16
    # without TEST the validation images are predicted, and their accuracies are the weights
    done = recipe('vipf_ensemble', 'd', cwd=tmp_path, PYTHON=fake, NAME='v')
    assert 'TEST is not set: the average is measured on the images that chose its weights' in done.stdout
    for path in folder.glob('*.npz'):
        assert (folder / 'held_out' / path.name).read_bytes() == path.read_bytes()


def test_kims_final_stage(fake, do, tmp_path):
    """It trains on all images, and predicts the test images."""
    for i, split in enumerate(('train', 'val', 'test')):
        (tmp_path / 'data' / split / 'a').mkdir(parents=True)
        (tmp_path / 'data' / split / 'a' / '0.png').write_text(str(i))
    line = ['kim_ensemble', 'data']
    recipe(*line, cwd=tmp_path, PYTHON=fake, FINAL='1', TEST='data/test')
    assert do('subset') == 0
    merged = tmp_path / 'output' / 'train' / 'data-final-kim'
    assert sorted(path.read_text() for path in merged.glob('*/a/*')) == ['0', '1']
    assert [path.name for path in merged.glob('*/')] == ['train']
    done = recipe(*line, cwd=tmp_path, check=False, PYTHON=fake, NAME='kim_ensemble-final')
    assert done.returncode == 2
    assert 'kim_ensemble-final has members trained on ' in done.stderr and 'choose another NAME' in done.stderr


def test_resuming(fake, tmp_path):
    """What is whole is not done again; what failed, is of other images or is missing is."""
    line = ['kim_ensemble', 'd']
    done = recipe(*line, '--fail', cwd=tmp_path, check=False, PYTHON=fake, JOBS='2')
    assert done.returncode == 1
    assert done.stderr.startswith('a member failed: out of luck. All of it is in ')
    assert done.stderr.strip().endswith('.log; the same command resumes')
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    assert not list(folder.rglob('*.npz'))
    recipe(*line, cwd=tmp_path, PYTHON=fake)
    (folder / 'effnet_b4_fcl-tta.npz').unlink()

    def times():
        return {path: path.stat().st_mtime_ns for path in (*folder.glob('*.npz'), *folder.glob('*/summary.csv'))}

    before = times()
    recipe(*line, cwd=tmp_path, PYTHON=fake)
    assert {path: times()[path] for path in before} == before
    assert (folder / 'effnet_b4_fcl-tta.npz').is_file()
    (tmp_path / 'test').mkdir()
    recipe(*line, cwd=tmp_path, PYTHON=fake, TEST='test')
    assert {path for path, time in before.items() if times()[path] == time} == set(folder.glob('*/summary.csv'))


def test_a_member_that_is_missing_or_of_other_classes(fake, do, tmp_path, capsys):
    recipe('kim_ensemble', 'd', cwd=tmp_path, PYTHON=fake)
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    member = folder / 'effnet_b3_fcl.npz'
    with np.load(member) as file:
        np.savez(member, **{**file, 'class_names': np.array(list('abcdx'))})
    for word in ('x', 'there is no file'):
        assert do('ensemble') == 2
        err = capsys.readouterr().err
        assert 'effnet_b3_fcl.npz' in err and word in err and err.count('\n') == 1
        assert not (folder / 'vote.csv').exists() and not (folder / 'submission.csv').exists()
        member.unlink(missing_ok=True)


@pytest.mark.slow
def test_kim_on_tiny_networks(few_digits, tmp_path, monkeypatch, quick_python):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = ['--model', 'test_efficientnet', *TINY, *'--epochs 3 --workers 0 -b 10 --opt adamw --lr 0.005'.split()]
    done = recipe('kim_ensemble', few_digits, *flags, cwd=tmp_path, PYTHON=quick_python, JOBS='2', THRESHOLD='1')
    folder = tmp_path / 'output' / 'train' / 'kim_ensemble'
    scores = scores_of(folder, [f'{name}{tta}' for name in KIM for tta in ('', '-tta')])
    assert not any(np.array_equal(*scores[i : i + 2]) for i in range(0, 10, 2))  # TTA gives other scores
    assert predictions(folder / 'vote.csv') == vote(scores[0], scores[1:], 1)
    lines = listed(done.stdout)
    for name in KIM:
        assert float(lines[name][3]) == pytest.approx(summary(folder / name)[-1]['eval_top1'], abs=0.01)
        seconds = sum(map(int, (folder / f'{name}.seconds').read_text().split()))
        assert float(lines[name][1]) == pytest.approx(seconds / 60, abs=0.06)


@pytest.mark.slow
def test_vipf_on_tiny_networks(few_digits, tmp_path, monkeypatch, quick_python):
    """The final stage: 16 networks and their trees, ten crops, weights from the images held out, a submission."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    flags = ['--model', 'test_efficientnet', '--model-kwargs', *TINY]
    flags += '--epochs 3 --workers 0 -b 10 --opt adamw --lr 0.005'.split()
    test = few_digits / 'validation'
    done = recipe(
        'vipf_ensemble', few_digits, *flags, cwd=tmp_path, PYTHON=quick_python, JOBS='2', FINAL='1', TEST=str(test)
    )
    folder = tmp_path / 'output' / 'train' / 'vipf_ensemble-final'
    mean, weights = average(folder)
    assert len(weights) == 16
    assert predictions(folder / 'average.csv') == mean.argmax(1).tolist()
    with (
        np.load(folder / 'dsk-ce-50-224.npz') as scores,
        np.load(folder / 'held_out' / 'dsk-ce-50-224.npz') as held_out,
    ):
        assert scores['scores'].shape == (40, 10) and held_out['scores'].shape == (10, 10)
    assert len((folder / 'submission.csv').read_text().splitlines()) == 41
    lines = listed(done.stdout)
    assert len(lines) == 16
    for name, line in lines.items():
        assert float(line[3]) == pytest.approx(summary(folder / name)[-1]['eval_top1'], abs=0.01)
        assert len(summary(folder / name)) == 3
