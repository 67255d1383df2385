"""A run from its command line to its end: the last lines, also after Ctrl-C, and what happens to the script."""

import os
import signal
import subprocess
import time

import pytest
import timm.utils

from timm_vipriors.cli import main
from timm_vipriors.files import default_workers
from timm_vipriors.scripts.runner import load_script

from .test_training import FLAGS
from .training import ENVIRONMENT, training


def test_our_flags_stand_beside_the_scripts(scripts, capsys):
    with pytest.raises(SystemExit) as e:
        main(['train', '--help'])
    assert e.value.code == 0
    text = ' '.join(capsys.readouterr().out.split())
    for flag in ('--criterion SPEC', '--criterion-kwargs', '--lsb-swap K', '--check-images', '--model', '--aa'):
        assert flag in text


def test_a_script_that_does_not_fit(few_digits, tmp_path, monkeypatch, capsys):
    (tmp_path / 'timm').mkdir()
    (tmp_path / 'timm' / 'version.py').write_text("__version__ = '0.1'\n")
    (tmp_path / 'train.py').write_text('import sys\n')
    monkeypatch.setenv('TIMM_SCRIPTS', str(tmp_path))
    assert main(['train', str(few_digits)]) == 2
    err = capsys.readouterr().err
    assert 'warning: the scripts in TIMM_SCRIPTS are of timm 0.1, installed is timm' in err
    assert 'is not a script of timm that we know: it has no parser, main, create_dataset' in err


def test_timm_is_as_it_was_after_a_run(few_digits, tmp_path, monkeypatch, scripts):
    monkeypatch.chdir(tmp_path)
    before = timm.utils.CheckpointSaver, timm.utils.update_summary, timm.data.create_loader, timm.create_model
    assert main(['train', str(few_digits), *FLAGS, '--epochs', '1']) == 0
    assert (timm.utils.CheckpointSaver, timm.utils.update_summary, timm.data.create_loader, timm.create_model) == before


def test_the_end_says_what_to_do_next(few_digits, tmp_path, monkeypatch, capsys, scripts):
    monkeypatch.chdir(tmp_path)
    assert main(['train', str(few_digits), *FLAGS, '--epochs', '1', '--experiment', 'a']) == 0
    out, err = capsys.readouterr()
    assert [line.split(':')[0] for line in out.splitlines()] == ['Best top-1', 'Checkpoint', 'Next']
    assert out.endswith('Next: timm-vipriors report ./output/train/a -o report.html\n')
    assert 'Current checkpoints' not in err


@pytest.mark.parametrize('after', ['a checkpoint', 'no checkpoint'])
def test_interrupted(after, few_digits, tmp_path):
    """Ctrl-C ends with 130, and the last line says how to resume."""
    line = training(few_digits, *FLAGS, '--epochs', '500', '--experiment', 'a', '--log-interval', '1')
    process = subprocess.Popen(
        line, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    last = tmp_path / 'output' / 'train' / 'a' / 'last.pth.tar'
    if after == 'a checkpoint':
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    else:
        for row in process.stderr:
            if 'update 1 of' in row:
                break
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    said = out.strip().splitlines()[-1]
    if after == 'a checkpoint':
        assert said == 'Interrupted. To resume, repeat the command with --resume ./output/train/a/last.pth.tar'
        done = subprocess.run(
            [*line, '--resume', './output/train/a/last.pth.tar', '--epochs', '1'],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    else:
        assert said.startswith('Interrupted')


def test_unnamed_runs_that_start_in_the_same_second_have_a_folder_each(few_digits, tmp_path, monkeypatch, scripts):
    monkeypatch.chdir(tmp_path)
    from timm_vipriors.scripts import runner

    original = runner.load_script

    def frozen(path):
        script = original(path)
        if hasattr(script, 'datetime'):

            class Clock(script.datetime):
                @classmethod
                def now(cls, tz=None):
                    return cls(2026, 1, 2, 3, 4, 5)

            script.datetime = Clock
        return script

    monkeypatch.setattr(runner, 'load_script', frozen)
    for _ in range(2):
        assert main(['train', str(few_digits), *FLAGS, '--epochs', '1']) == 0
    names = sorted(path.name for path in (tmp_path / 'output' / 'train').iterdir())
    assert names == ['20260102-030405-test_dsk_resnext-32', '20260102-030405-test_dsk_resnext-32-1']


def test_scripts_are_modules_that_workers_find(tmp_path):
    (tmp_path / 'mine.py').write_text('parser = main = create_dataset = create_loader = create_model = None\n')
    import sys

    script = load_script(tmp_path / 'mine.py')
    assert sys.modules[script.__name__] is script


@pytest.mark.parametrize(('cores', 'ranks', 'workers'), [(2, 1, 2), (64, 1, 8), (64, 16, 4), (1, 2, 1)])
def test_loader_processes_are_those_that_the_machine_has(cores, ranks, workers, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: range(cores), raising=False)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(ranks))
    assert default_workers() == workers
