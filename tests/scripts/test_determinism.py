"""The same seed gives the same run, with any number of loader processes, in one go or in parts."""

import shutil

import pytest

from timm_vipriors.files import read_checkpoint

from ..states import equal

FLAGS = (
    '--model test_dsk_resnext --img-size 32 -b 25 --epochs 2 --warmup-epochs 0 --criterion pcl+center '
    '--aa rand-m5-mstd0.5 --reprob 0.3 --drop 0.1 --model-ema --model-ema-decay 0.9 --experiment run'
).split()
KEYS = ('state_dict', 'state_dict_ema', 'task_state', 'optimizer', 'metric')


@pytest.fixture
def train(command, few_digits, scripts, tmp_path):
    def run(name, *flags):
        command('train', few_digits, *FLAGS, *flags, '--output', tmp_path / name)
        folder = tmp_path / name / 'run'
        return read_checkpoint(str(folder / 'last.pth.tar')), (folder / 'summary.csv').read_text()

    return run


@pytest.mark.slow
def test_runs_with_0_1_and_2_loader_processes(train):
    state, records = train('one', '--workers', 1)
    for name, workers in (('again', 1), ('none', 0), ('two', 2)):
        other_state, other_records = train(name, '--workers', workers)
        for key in KEYS:
            assert equal(state[key], other_state[key]), (name, key)
        assert records == other_records, name
    other_state, _ = train('seed', '--workers', 1, '--seed', 43)
    assert not equal(state['state_dict'], other_state['state_dict'])


@pytest.mark.slow
@pytest.mark.parametrize('more', [[], ['--lsb-swap', 2], ['--lsb-swap', 2, '--cache', 'ram']])
def test_resumed_run_is_the_uninterrupted_one(train, tmp_path, more):
    whole = train('whole', '--workers', 1, '--epochs', 3, '--sched', 'multistep', '--decay-milestones', 2, *more)
    for epochs in (1, 2, 3, 3):  # the last finds nothing to do
        flags = ['--workers', 2, '--epochs', epochs, '--sched', 'multistep', '--decay-milestones', 2, *more]
        parts = train('parts', *flags, '--resume', 'auto')
    assert parts[0]['epoch'] == 2
    for key in KEYS:
        assert equal(whole[0][key], parts[0][key]), key
    assert whole[1] == parts[1]
    names = [sorted(p.name for p in (tmp_path / name / 'run').iterdir()) for name in ('whole', 'parts')]
    assert names[0] == names[1]


@pytest.mark.slow
def test_runs_with_a_cache_are_those_without(train, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    state, records = train('off', '--workers', 1)
    for cache in ('ram', 'disk', 'disk'):
        other_state, other_records = train(cache, '--workers', 2, '--cache', cache, '--resume', '')
        for key in KEYS:
            assert equal(state[key], other_state[key]), (cache, key)
        assert records == other_records, cache
        shutil.rmtree(tmp_path / cache)
    assert len(list((tmp_path / 'cache' / 'timm-vipriors' / 'images').iterdir())) == 2  # train and validation
