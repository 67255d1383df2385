"""The evidence's own parts: what a routing draws, what augmentation does, and that the queue resumes."""

import csv
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from timm_vipriors.layers import DualBranch

from . import images, networks, plan, run, small_race, summary, training
from .routing import ROUTINGS, VariantBranch
from .settings import NAMES, RESULTS, Settings

TINY = Settings('digits', 'tune', 100, 0, 'dsk', epochs=2, batch=20, per_class=2, zero_init=1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('images')


def branch(routing: str) -> VariantBranch:
    """Two units that differ in their gain alone."""
    units = [nn.Conv2d(1, 1, 1, bias=False) for _ in range(2)]
    for unit, gain in zip(units, (1.0, 3.0), strict=True):
        nn.init.constant_(unit.weight, gain)
    made = VariantBranch(*units)
    made.routing = routing
    return made


def gains(made: VariantBranch) -> set[float]:
    torch.manual_seed(0)
    x = torch.ones(64, 1, 1, 1)
    return {round(value, 3) for value in (made(x) - x).flatten().tolist()}


@pytest.mark.parametrize('routing', ROUTINGS)
def test_what_each_routing_draws(routing):
    made = branch(routing)
    both, mean = {1.0, 3.0}, {2.0}
    begin, end = {
        'late': (mean, both),
        'early': (both, mean),
        'fade-in': (mean, both),
        'fade-out': (both, mean),
        'mean': (mean, mean),
        'three': (both | mean,) * 2,
        'half': (mean, mean),
        'batch': ({3.0}, {1.0}),  # one unit for all; the first draws of two seeds below
    }.get(routing, (both, both))
    for made.progress, expected in ((0.0, begin), (1.0, end)):
        found = gains(made)
        if routing == 'uniform':
            assert len(found) > 50 and 1 <= min(found) < max(found) <= 3
        elif routing == 'batch':
            assert len(found) == 1 and found < both
        else:
            assert found == expected
    made.stage = 3
    assert routing != 'half' or gains(made) == both
    made.eval()
    assert gains(made) == mean


def test_even_and_shake_differ_from_the_package_in_their_gradient_alone():
    shares = {}
    for routing in ('even', 'shake', 'alike'):
        made = branch(routing)
        torch.manual_seed(0)
        made(torch.ones(64, 1, 1, 1)).sum().backward()
        shares[routing] = made.unit1.weight.grad.item() / 64
    assert shares['even'] == shares['alike'] == 0.5
    made = branch('shake')
    x = torch.ones(64, 1, 1, 1)
    x.requires_grad_()
    y = made(x)
    y.sum().backward()
    forward, backward = (y - x).flatten() > 2, x.grad.flatten() - 1 > 2
    assert 10 < (forward == backward).sum() < 54  # independent draws


def test_networks_are_the_rows_of_table_1():
    for net in networks.NETWORKS:
        for zero in (0, 1):
            model = networks.create(replace(TINY, net=net, zero_init=zero), 10)
            branches = sum(isinstance(module, DualBranch) for module in model.modules())
            assert branches == (4 if net in ('d', 'dsk') else 0)
            last = [m for n, m in model.named_modules() if n.endswith(('bn3', 'conv3.bn'))]
            assert len(last) == (8 if branches else 4)
            assert {bn.weight.abs().sum().item() == 0 for bn in last} == {bool(zero)}


def test_harmonic_weights_are_sums_of_cosines():
    model = networks.create(replace(TINY, net='resnext', harmonic=1), 10)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convs) == 4
    basis = networks.Harmonic().basis
    torch.testing.assert_close(basis.abs().sum(dim=(1, 2)), torch.ones(9))
    assert torch.linalg.matrix_rank(basis.flatten(1)) == 9
    raw = convs[0].parametrizations.weight.original
    torch.testing.assert_close(convs[0].weight[0, 0], (raw[0, 0].flatten()[:, None, None] * basis).sum(0))


def test_augmentation():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(200, 3, 8, 8)
    torch.testing.assert_close(images.augment(x, generator, 1.0, 0.0, mirrored=False)[:, :, 2:6, 2:6].mean(), x.mean(),
                               atol=0.05, rtol=0)  # fmt: skip
    row = torch.arange(8.0).expand(200, 1, 8, 8)
    rises = images.augment(row, generator, 0.5, 0.0, mirrored=False).diff(dim=3).mean(dim=(1, 2, 3)) > 0
    assert rises.all()
    rises = images.augment(row, generator, 0.5, 0.0, mirrored=True).diff(dim=3).mean(dim=(1, 2, 3)) > 0
    assert 60 < rises.sum() < 140
    turned = images.augment(row, generator, 0.5, 40.0, mirrored=False).diff(dim=2).abs().mean()
    assert turned > 0.1


def test_cutmix_and_lsb_swap():
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(10)
    x = target.float().view(10, 1, 1, 1).expand(10, 1, 8, 8)
    for _ in range(10):
        mixed, soft = images.cutmix(x, target, 10, generator)
        shares = torch.stack([(mixed == label).float().mean(dim=(1, 2, 3)) for label in range(10)], dim=1)
        torch.testing.assert_close(soft, shares)
    pixels = torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(images.lsb_swap(pixels, 0.0, generator), pixels)
    swapped = images.lsb_swap(pixels, 1.0, generator)
    assert torch.equal(swapped & 0xFC, pixels & 0xFC)
    assert (swapped != pixels).float().mean() > 0.5


def test_the_rate_rises_and_falls():
    rates = [training.learning_rate(step, 10, 100) for step in range(100)]
    assert rates.index(max(rates)) == 10 and max(rates) == 1
    assert rates[0] < 0.1 and rates[-1] < 0.001


def test_a_training_gives_the_same_again(folder):
    data = images.load(folder, 'digits', 'tune', 100, 2, 32)
    assert (len(data.train), len(data.test), len(data.classes)) == (20, 1777, 10)
    data.test, data.test_target = data.test[:200], data.test_target[:200]
    first, again = training.train(TINY, data), training.train(TINY, data)
    assert {**first, 'seconds': ''} == {**again, 'seconds': ''}
    assert set(first) == set(RESULTS)
    other = replace(TINY, loss='pcl+center', cutmix=1.0, ema=0.9, smoothing=0.1, lsb=0.5, dropout=0.2, pool='catavgmax')
    assert training.train(other, data)['train_loss'] != first['train_loss']


def test_the_queue_resumes(folder, tmp_path, monkeypatch):
    trained = []

    def train(settings, data, between_epochs):
        trained.append(settings.seed)
        if settings.seed == 1 and len(trained) == 2:
            raise KeyboardInterrupt
        return dict.fromkeys(RESULTS, '1.0')

    monkeypatch.setattr(run, 'train', train)
    monkeypatch.setattr(run, 'QUESTIONS', {'q': lambda: [replace(TINY, seed=seed) for seed in range(3)]})
    monkeypatch.setattr(sys, 'argv', ['run', '--images', str(folder), '--results', str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        run.main()
    run.main()
    run.main()
    assert trained == [0, 1, 1, 2]
    rows = run.read(tmp_path / 'q.csv')
    assert [settings.seed for settings, _ in rows] == [0, 1, 2]
    assert rows[0] == (TINY, dict.fromkeys(RESULTS, '1.0'))


def test_plans_tune_on_tuning_sets_alone():
    for question, make in plan.QUESTIONS.items():
        wanted = list(make())
        assert len({settings.key() for settings in wanted}) == len(wanted) > 0, question
        for settings in wanted:
            assert (settings.part, settings.data_seed >= 100) in (('tune', True), ('final', False)), settings


def test_results_are_of_the_columns_of_today():
    for path in run.FOLDER.glob('*.csv'):
        with open(path, newline='') as file:
            assert next(csv.reader(file)) == [*NAMES, *RESULTS], path


def test_intervals():
    assert summary.interval([]) == ''
    assert summary.interval([1.0]) == '+1.0'
    assert summary.interval([1.0, 2.0, 3.0]) == '+2.0 ± 2.5 (n 3)'  # t = 4.303, standard error 0.577
    rows = [
        (replace(TINY, zero_init=zero, seed=seed), dict(top1=str(50 + seed + 5 * zero), test_ce='1', train_loss='2'))
        for seed in range(3)
        for zero in (0, 1)
    ]
    lines = summary.table(rows, dict(zero_init=0))
    assert lines[2:] == ['| 0 | 3 | 51.0 | 1.000 | 2.000 |  |', '| 1 | 3 | 56.0 | 1.000 | 2.000 | +5.0 ± 0.0 (n 3) |']


def test_a_race_trains_what_small_sh_chooses(tmp_path, monkeypatch):
    commands = {}

    def train(data, flags, output, name):
        commands[name] = flags
        return 50.0

    monkeypatch.setattr(small_race, 'train', train)
    monkeypatch.setattr(small_race, 'RESULTS', tmp_path / 'race.csv')
    monkeypatch.setattr(sys, 'argv', ['small_race', '--images', str(tmp_path), 'digits-0'])
    small_race.main()
    assert len(commands) == len(small_race.finished()) == 7
    small, fast = (dict(pairwise(flags)) for flags in list(commands.values())[:2])
    assert (small['--epochs'], small['--aa'], small['--criterion']) == ('500', 'rand-m5-mstd0.5', 'pcl+center')
    assert (fast['--epochs'], fast['--aa']) == ('75', '')
    commands.clear()
    small_race.main()
    assert not commands  # resumed: all are there


@pytest.mark.slow
def test_table_1_runs_in_miniature(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('validation', 3)):
        for label in 'ab':
            folder = tmp_path / 'data' / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(256, size=(20, 24, 3), dtype=np.uint8)).save(folder / f'{i}.png')
    script = [sys.executable, str(Path(__file__).parents[1] / 'table1_gpu.py')]
    pack = [*script, '--data', 'data', '--save', 'packed.npz', '--size', '32']
    assert '0.1 MiB' in subprocess.run(pack, cwd=tmp_path, text=True, capture_output=True, check=True).stdout
    flags = '--packed packed.npz --tiny --no-compile --device cpu --batch 8 --epochs 1 --zero-init-last 0'
    line = [*script, *flags.split()]
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert '16 images in train, 6 in validation, 2 classes, 2 steps' in done.stdout
    with open(tmp_path / 'table1.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['row'] for row in rows][-2:] == ['DSK-ResNeXt50_32x4d + PCL', 'DSK-ResNeXt50_32x4d + PCL + CL']
    assert len(rows) == 7 == len({row['train_loss'] for row in rows})
    assert all(0 <= float(row['top1']) <= 100 for row in rows)
