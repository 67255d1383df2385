"""Runs that are logged elsewhere: what stands in summary.csv, by both scripts, also after a resume."""

import json
from importlib.machinery import ModuleSpec

import pytest

from timm_vipriors.cli import main

from ..conftest import ROOT
from .test_training import FLAGS, summary

WANDB = """
import json
run = None
def write(**kwargs):
    with open('wandb.jsonl', 'a') as f:
        f.write(json.dumps(kwargs, default=str) + '\\n')
def init(config, **kwargs):
    global run
    run = kwargs
    write(model=dict(vars(config) if hasattr(config, 'model') else config)['model'], **kwargs)
def log(row):
    write(**row)
"""


def test_weights_and_biases(command, few_digits, scripts, tmp_path):
    """A stand-in keeps what it is called with: one run, started with its name, and a row for each epoch."""
    (tmp_path / 'stand_in').mkdir()
    (tmp_path / 'stand_in' / 'wandb.py').write_text(WANDB)
    flags = ['--epochs', 2, '--experiment', 'a', '--log-wandb', '--wandb-project', 'p', '--wandb-tags', 'x', 'y']
    command('train', few_digits, *FLAGS, *flags, env={'PYTHONPATH': f'{tmp_path / "stand_in"}:{ROOT}'})
    started, *rows = map(json.loads, (tmp_path / 'wandb.jsonl').read_text().splitlines())
    expected = dict(model='test_dsk_resnext', project='p', name='a', tags=['x', 'y'], resume=None, id=None)
    assert started == expected
    assert rows == summary(tmp_path / 'output' / 'train' / 'a')


def test_tensorboard(few_digits, scripts, tmp_path, monkeypatch):
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    monkeypatch.chdir(tmp_path)
    line = ['train', str(few_digits), *FLAGS, '--epochs', '3', '--experiment', 'a', '--log-tensorboard']
    assert main(line) == 0
    assert main([*line, '--resume', 'output/train/a/checkpoint-0.pth.tar']) == 0  # epochs 1 and 2 come again
    events = reader.EventAccumulator(str(tmp_path / 'output' / 'train' / 'a')).Reload()
    rows = {int(row['epoch']): row for row in summary(tmp_path / 'output' / 'train' / 'a')}
    columns = {'train/loss': 'train_loss', 'eval/top1': 'eval_top1', 'eval/loss': 'eval_loss', 'lr': 'lr'}
    for tag, column in columns.items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [0, 1, 2]
        assert [value for _, value in found] == pytest.approx([row[column] for row in rows.values()])


@pytest.mark.parametrize(('flag', 'package'), [('--log-wandb', 'wandb'), ('--log-tensorboard', 'tensorboard')])
def test_a_logger_that_is_not_installed(few_digits, scripts, tmp_path, monkeypatch, capsys, flag, package):
    """A folder of its name, which wandb leaves where it ran, is not the package."""
    monkeypatch.chdir(tmp_path)
    folder = ModuleSpec(package, None, is_package=True)
    monkeypatch.setattr('timm_vipriors.scripts.loggers.find_spec', lambda name: folder)
    assert main(['train', str(few_digits), *FLAGS, flag]) == 2
    err = capsys.readouterr().err
    assert f"error: {flag} needs {package}: pip install 'timm-vipriors[logging]'" in err
    assert not (tmp_path / 'output').exists()
