"""What a training says of its updates and its precision before it starts, and that it is so."""

import pytest

from timm_vipriors.cli import main
from timm_vipriors.scripts.learning_rate import describe_update, learning_rate
from timm_vipriors.scripts.options import add_our_options
from timm_vipriors.scripts.runner import find_script, load_script

from .test_training import FLAGS, summary


@pytest.fixture
def parse(monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    parser = load_script(find_script('train')).parser
    add_our_options(parser)
    return lambda line: parser.parse_args(line.split())


@pytest.mark.parametrize(
    ('line', 'devices', 'rate', 'text'),
    [
        ('--lr 0.016 -b 10', 1, 0.016, '10 images at a rate of 0.016'),
        ('-b 64 --lr-base 0.1 --lr-base-size 1024', 16, 0.1, '1,024 images (64 × 16 devices) at a rate of 0.1, scaled'),
        ('-b 64', 1, 0.025, '64 images at a rate of 0.025, scaled linearly from 0.1 for 256'),
        ('-b 8 --grad-accum-steps 4', 2, 0.025, '64 images (8 × 2 devices × 4 batches) at a rate of 0.025'),
        ('-b 64 --opt adamw', 1, 0.05, 'at a rate of 0.05, scaled by the square root from 0.1 for 256'),
        ('-b 64 --opt lamb --lr-base-scale linear', 1, 0.025, 'scaled linearly'),
        ('-b 64 --lr-base-scale sqrt', 1, 0.05, 'scaled by the square root'),
    ],
)
def test_learning_rate(line, devices, rate, text, parse):
    args = parse(line)
    assert learning_rate(args, devices)[0] == pytest.approx(rate)
    assert text in describe_update(args, devices)


def test_it_is_what_the_script_trains_with(few_digits, scripts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [*FLAGS, '--epochs', '1', '--opt', 'adamw', '--lr-base', '0.01', '--grad-accum-steps', '2']
    assert main(['train', str(few_digits), *flags, '--experiment', 'a']) == 0
    rate = 0.01 * (40 / 256) ** 0.5
    text = (
        f'an update learns from 40 images (20 × 2 batches) at a rate of {rate:g}, scaled by the square root from 0.01'
    )
    assert text in capsys.readouterr().err
    assert summary(tmp_path / 'output' / 'train' / 'a')[0]['lr'] == pytest.approx(rate)


def test_no_amp_takes_amp_back(few_digits, scripts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [*FLAGS, '--device', 'cpu', '--epochs', '1', '--no-aug']
    losses = []
    for name, precision in (('plain', []), ('back', ['--amp', '--no-amp']), ('amp', ['--amp'])):
        assert main(['train', str(few_digits), *flags, *precision, '--experiment', name]) == 0
        losses.append(summary(tmp_path / 'output' / 'train' / name)[0]['train_loss'])
        warned = 'computes in float16, which is slow on the CPU' in capsys.readouterr().err
        assert warned == (name == 'amp')
    assert losses[0] == losses[1] != losses[2]


def test_interval_of_validations(few_digits, scripts, tmp_path, monkeypatch):
    """As timm's: an evaluation and a checkpoint after every second epoch and after the last."""
    monkeypatch.chdir(tmp_path)
    assert main(['train', str(few_digits), *FLAGS, '--epochs', '3', '--val-interval', '2', '--experiment', 'v']) == 0
    assert [row['epoch'] for row in summary(tmp_path / 'output' / 'train' / 'v')] == [1, 2]
    assert {p.name for p in (tmp_path / 'output' / 'train' / 'v').glob('checkpoint-*')} == {
        'checkpoint-1.pth.tar',
        'checkpoint-2.pth.tar',
    }
