"""Checkpoints and records: one whole of each at every moment, also on a full disk and after a stop in between."""

import os
import resource
import signal
import subprocess
import threading

import pytest
import timm
import torch
from timm.task import ClassificationTask

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError
from timm_vipriors.files import read_checkpoint
from timm_vipriors.scripts.saving import Saver, trim_summary

from ..states import equal
from .training import ENVIRONMENT, training

FLAGS = '--model test_dsk_resnext --img-size 32 -b 20 --workers 1 --warmup-epochs 0 --experiment run'.split()


@pytest.fixture
def saver(tmp_path):
    return make_saver(tmp_path)


def make_saver(folder, make=Saver, **kwargs):
    torch.manual_seed(0)
    task = ClassificationTask(torch.nn.Linear(2, 2), torch.nn.CrossEntropyLoss(), verbose=False)
    model = task.get_trainable_module()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kwargs = dict(max_history=2, checkpoint_dir=str(folder), recovery_dir=str(folder), task=task) | kwargs
    return make(model, optimizer, **kwargs)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def epoch_of(path):
    return read_checkpoint(str(path))['epoch']


def test_there_is_a_whole_last_checkpoint_at_every_step(saver, tmp_path, monkeypatch):
    """Every call that changes the folder is looked at."""
    saver.save_checkpoint(0, 10.0)
    saver.finish()
    seen = []
    for name in ('replace', 'remove', 'unlink', 'link', 'rename'):
        real = getattr(os, name)

        def watched(*args, real=real, name=name):
            real(*args)
            seen.append(name)
            for file in ('last.pth.tar', 'model_best.pth.tar'):
                assert epoch_of(tmp_path / file) in (0, 1, 2, 3), (name, file)

        monkeypatch.setattr(os, name, watched)
    for epoch, metric in ((1, 20.0), (2, 15.0), (3, 30.0)):
        saver.save_checkpoint(epoch, metric)
        saver.finish()
    assert len(seen) > 10
    monkeypatch.undo()
    assert names(tmp_path) == ['checkpoint-1.pth.tar', 'checkpoint-3.pth.tar', 'last.pth.tar', 'model_best.pth.tar']
    assert epoch_of(tmp_path / 'model_best.pth.tar') == 3


@pytest.mark.parametrize('decreasing', [False, True])
def test_killed_before_any_step_it_goes_on_as_if_it_was_not(tmp_path, monkeypatch, decreasing):
    """A saver stopped before its n-th change of the folder, for every n, and taken up by another one."""

    class Killed(BaseException):
        pass

    metrics = [10.0, 12.0, 11.0, 12.0, 15.0, 9.0, 9.0]

    def run(folder, stop=None):
        folder.mkdir()
        calls = 0

        def counted(*args, real, **kwargs):
            nonlocal calls
            calls += 1
            if calls == stop:
                raise Killed
            return real(*args, **kwargs)

        saver, epoch = make_saver(folder, decreasing=decreasing), 0
        with monkeypatch.context() as patch:
            for name in ('replace', 'remove', 'unlink', 'link'):
                real = getattr(os, name)
                patch.setattr(os, name, lambda *a, real=real, **k: counted(*a, real=real, **k))
            while epoch < len(metrics):
                try:
                    saver.save_checkpoint(epoch, metrics[epoch])
                    saver.finish()
                    epoch += 1
                except Killed:
                    saver = make_saver(folder, decreasing=decreasing)
                    saver.take_up()
                    last = folder / 'last.pth.tar'
                    epoch = epoch_of(last) + 1 if last.exists() else 0
        files = {name: epoch_of(folder / name) for name in names(folder)}
        ranked = [(os.path.basename(path), metric) for path, metric in saver.checkpoint_files]
        return calls, files, ranked, (saver.best_metric, saver.best_epoch)

    total, *expected = run(tmp_path / 'whole')
    assert total > 20
    for stop in range(1, total + 1):
        _, *found = run(tmp_path / f'stop{stop}', stop)
        assert found == expected, stop


def test_nothing_that_is_not_finite_is_saved(saver, tmp_path):
    saver.save_checkpoint(0, 1.0)
    with torch.no_grad():
        saver.model.bias[1] = torch.nan
    with pytest.raises(UserError, match=r'epoch 1: bias is not finite, so it was not saved; .*last\.pth\.tar is the'):
        saver.save_checkpoint(1, 2.0)
    assert names(tmp_path) == ['checkpoint-0.pth.tar', 'last.pth.tar', 'model_best.pth.tar']
    assert epoch_of(tmp_path / 'model_best.pth.tar') == 0


@pytest.mark.parametrize('ema', [False, True])
def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch, ema):
    """The file holds what timm's saver would have written at the call, and the best is known at once."""
    go_on, real = threading.Event(), torch.save
    folders = [tmp_path / name for name in ('timm', 'ours')]
    savers = []
    for folder, make in zip(folders, (timm.utils.CheckpointSaver, Saver), strict=True):
        folder.mkdir()
        saver = make_saver(folder, make)
        if ema:
            saver.task.setup_ema(decay=0.5)
        task, optimizer = saver.task, saver.optimizer

        def step(task=task, optimizer=optimizer):
            task(torch.ones(3, 2), torch.tensor([0, 1, 1]))['loss'].backward()
            optimizer.step()
            task.update_ema()

        step()
        savers.append((saver, step))
    (theirs, _), (ours, step) = savers
    theirs.save_checkpoint(0, 10.0)
    monkeypatch.setattr(torch, 'save', lambda *args: go_on.wait(20) and real(*args))
    assert ours.save_checkpoint(0, 10.0) == (10.0, 0)
    step()
    assert names(folders[1]) == []
    go_on.set()
    ours.finish()
    assert names(folders[0]) == names(folders[1])
    expected, found = (read_checkpoint(str(folder / 'last.pth.tar')) for folder in folders)
    assert expected.keys() == found.keys()
    assert all(equal(expected[key], found[key]) for key in expected)
    ours.save_recovery(1, 2)
    assert not equal(read_checkpoint(str(folders[1] / 'recovery-1-2.pth.tar'))['state_dict'], found['state_dict'])


def test_what_went_wrong_in_writing_is_raised_by_the_next_call(saver, monkeypatch):
    def fail(*args):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(torch, 'save', fail)
        saver.save_checkpoint(0, 1.0)
        with pytest.raises(UserError, match=r'tmp\.pth\.tar could not be written .*No space left.*no checkpoint yet'):
            saver.save_checkpoint(1, 2.0)
    assert saver.save_checkpoint(1, 2.0) == (2.0, 1)
    saver.finish()
    saver.finish()


def run_training(folder, data, *flags, preexec=None):
    line = training(data, *FLAGS, *flags, '--output', folder)
    return subprocess.run(line, env=ENVIRONMENT, text=True, capture_output=True, timeout=300, preexec_fn=preexec)


@pytest.mark.slow
def test_a_file_that_cannot_grow(few_digits, tmp_path):
    """A limit on the size of files stands for a disk that is full: torch fails in the midst of a checkpoint."""
    assert run_training(tmp_path, few_digits, '--epochs', '1').returncode == 0
    before = read_checkpoint(str(tmp_path / 'run' / 'last.pth.tar'))

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = run_training(tmp_path, few_digits, '--epochs', '2', '--resume', 'auto', preexec=limit)
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith('timm-vipriors train: error: ')
    assert 'could not be written' in line
    assert 'is the last checkpoint' in line
    assert 'Traceback' not in done.stderr
    assert names(tmp_path / 'run') == [
        'args.yaml',
        'checkpoint-0.pth.tar',
        'last.pth.tar',
        'model_best.pth.tar',
        'summary.csv',
    ]
    after = read_checkpoint(str(tmp_path / 'run' / 'last.pth.tar'))
    assert equal(before['state_dict'], after['state_dict'])
    # with room again it resumes, and the records have each epoch once
    assert run_training(tmp_path, few_digits, '--epochs', '2', '--resume', 'auto').returncode == 0
    rows = (tmp_path / 'run' / 'summary.csv').read_text().splitlines()
    assert [row.split(',')[0] for row in rows] == ['epoch', '0', '1']


@pytest.mark.slow
def test_a_full_disk(few_digits, tmp_path):
    """A real one of a few megabytes, where this machine lets us mount it."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=40m', 'none', str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip('mounting a tmpfs needs root')
    try:
        done = run_training(disk, few_digits, '--epochs', '20', '--checkpoint-hist', '20')
        assert done.returncode == 2, done.stderr
        assert 'could not be written' in done.stderr.strip().splitlines()[-1]
        assert 'Traceback' not in done.stderr
        assert 'tmp.pth.tar' not in names(disk / 'run')
        last = epoch_of(disk / 'run' / 'last.pth.tar')
        assert last >= 0
        rows = (disk / 'run' / 'summary.csv').read_text().splitlines()
        assert len(rows) - 1 >= last + 1
        (disk / 'run' / 'checkpoint-0.pth.tar').unlink()
        (disk / 'run' / 'checkpoint-1.pth.tar').unlink()
        flags = ('--epochs', str(last + 3), '--resume', 'auto', '--checkpoint-hist', '1')
        done = run_training(disk, few_digits, *flags)
        assert epoch_of(disk / 'run' / 'last.pth.tar') > last, done.stderr
    finally:
        subprocess.run(['umount', str(disk)], check=True)


@pytest.mark.parametrize(
    ('text', 'epoch', 'expected'),
    [
        ('epoch,loss\n0,1\n1,2\n2,3\n', 1, 'epoch,loss\n0,1\n1,2\n'),
        ('epoch,loss\n0,1\n1,2\n2,', 1, 'epoch,loss\n0,1\n1,2\n'),  # torn
        ('epoch,loss\n0,1\n1,2', 1, 'epoch,loss\n0,1\n'),  # torn, and it shows in no other way
        ('epoch,loss\n0,1\nepoch,loss\n1,2\n1,5\n', 1, 'epoch,loss\n0,1\n1,5\n'),  # timm's second header
        ('epoch,loss\r\n0,1\r\n1,2\r\n', 0, 'epoch,loss\r\n0,1\r\n'),
        ('epoch,loss\n7,1\n', 1, 'epoch,loss\n7,1\n'),  # nothing of this run: left alone
        ('', 1, ''),
    ],
)
def test_trim_summary(tmp_path, text, epoch, expected):
    path = tmp_path / 'summary.csv'
    path.write_text(text, newline='')
    trim_summary(str(tmp_path), epoch)
    assert path.read_bytes().decode() == expected
    assert names(tmp_path) == ['summary.csv']


def test_auto_needs_a_name(few_digits, capsys):
    assert main(['train', str(few_digits), '--resume', 'auto']) == 2
    assert '--resume auto needs --experiment NAME' in capsys.readouterr().err


def test_timms_saver_is_what_ours_is_made_of():
    assert issubclass(Saver, timm.utils.CheckpointSaver)
