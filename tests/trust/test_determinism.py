"""The same seed gives the same run, with any number of loader processes, in one go or in parts."""

import random

import numpy as np
import pytest
import torch
from timm.data import create_dataset, create_loader

from timm_vipriors.data import create_transform
from timm_vipriors.data.seeding import SeededImageDataset
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
def test_resumed_run_is_the_uninterrupted_one(train, tmp_path):
    whole = train('whole', '--workers', 1, '--epochs', 3, '--sched', 'multistep', '--decay-milestones', 2)
    for epochs in (1, 2, 3, 3):  # the last finds nothing to do
        flags = ['--workers', 2, '--epochs', epochs, '--sched', 'multistep', '--decay-milestones', 2]
        parts = train('parts', *flags, '--resume', 'auto')
    assert parts[0]['epoch'] == 2
    for key in KEYS:
        assert equal(whole[0][key], parts[0][key]), key
    assert whole[1] == parts[1]
    names = [sorted(p.name for p in (tmp_path / name / 'run').iterdir()) for name in ('whole', 'parts')]
    assert names[0] == names[1]


def make_dataset(folder, seed=3, rank=0):
    dataset = SeededImageDataset.of(create_dataset('', root=str(folder), split='train'), seed, rank)
    dataset.transform = create_transform(32, is_training=True, auto_augment='rand-m9-mstd0.5', use_prefetcher=True)
    return dataset


def pixels(dataset, index):
    return np.asarray(dataset[index][0])


def test_an_image_depends_on_seed_epoch_and_index_alone(few_digits):
    dataset = make_dataset(few_digits)
    dataset.set_epoch(4)
    forward = [pixels(dataset, i) for i in range(8)]
    backward = [pixels(dataset, i) for i in reversed(range(8))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))
    other_rank = make_dataset(few_digits, rank=1)
    other_rank.set_epoch(4)
    assert np.array_equal(pixels(other_rank, 5), forward[5])
    dataset.set_epoch(5)
    assert not all(np.array_equal(pixels(dataset, i), forward[i]) for i in range(8))
    other_seed = make_dataset(few_digits, seed=4)
    other_seed.set_epoch(4)
    assert not all(np.array_equal(pixels(other_seed, i), forward[i]) for i in range(8))


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def test_in_the_main_process_images_leave_the_generators_alone(few_digits):
    dataset = make_dataset(few_digits)
    dataset.set_epoch(1)
    expected = draws()
    dataset.set_epoch(1)
    pixels(dataset, 0)
    assert draws() == expected
    dataset.set_epoch(2)
    assert draws() != expected
    other_rank = make_dataset(few_digits, rank=1)
    other_rank.set_epoch(1)
    assert draws() != expected  # another order and other dropout on each rank


def test_the_epoch_reaches_loader_processes_that_live_on(few_digits):
    dataset = make_dataset(few_digits)
    transform = dataset.transform
    loader = create_loader(dataset, (3, 32, 32), 80, is_training=False, num_workers=2, device=torch.device('cpu'))
    dataset.transform = transform
    batches = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        batches.append(torch.cat([x for x, _ in loader]))
    assert torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], batches[1])
