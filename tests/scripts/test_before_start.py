"""What a run says of itself before it starts, and that it is so."""

import json
import re

import pytest
import timm
import torch

from timm_vipriors.checkpoint import Checkpoint
from timm_vipriors.cli import main
from timm_vipriors.scripts.learning_rate import describe_update, learning_rate

from .parsing import parse
from .test_training import FLAGS, summary


@pytest.mark.parametrize(
    ('line', 'devices', 'rate', 'text'),
    [
        ('--lr 0.016 -b 10', 1, 0.016, '10 images, learning rate 0.016'),
        ('-b 64 --lr-base 0.1 --lr-base-size 1024', 16, 0.1, '1,024 images (64 × 16 devices), learning rate 0.1'),
        ('-b 64', 1, 0.025, '64 images, learning rate 0.025, scaled linearly from 0.1 for 256'),
        ('-b 8 --grad-accum-steps 4', 2, 0.025, '64 images (8 × 2 devices × 4 batches), learning rate 0.025'),
        ('-b 64 --opt adamw', 1, 0.05, 'learning rate 0.05, scaled by the square root from 0.1 for 256'),
        ('-b 64 --opt lamb --lr-base-scale linear', 1, 0.025, 'scaled linearly'),
        ('-b 64 --lr-base-scale sqrt', 1, 0.05, 'scaled by the square root'),
    ],
)
def test_learning_rate(line, devices, rate, text):
    args = parse(line)
    assert learning_rate(args, devices)[0] == pytest.approx(rate)
    assert text in describe_update(args, devices)


def test_it_is_what_the_script_trains_with(few_digits, scripts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [*FLAGS, '--epochs', '1', '--opt', 'adamw', '--lr-base', '0.01', '--grad-accum-steps', '2']
    assert main(['train', str(few_digits), *flags, '--experiment', 'a']) == 0
    rate = 0.01 * (40 / 256) ** 0.5
    text = f'each update: 40 images (20 × 2 batches), learning rate {rate:g}, scaled by the square root from 0.01'
    assert text in capsys.readouterr().err
    assert summary(tmp_path / 'output' / 'train' / 'a')[0]['lr'] == pytest.approx(rate)


def test_no_amp_cancels_amp(few_digits, scripts, tmp_path, monkeypatch, capsys):
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


def test_a_resumed_run_announces_the_rate_that_it_trains_with(few_digits, scripts, tmp_path, monkeypatch, capsys):
    """timm's optimizer state wins over --lr."""
    monkeypatch.chdir(tmp_path)
    line = ['train', str(few_digits), *FLAGS, '--sched', 'multistep']
    assert main([*line, '--lr', '0.02', '--epochs', '1', '--experiment', 'a']) == 0
    last = 'output/train/a/last.pth.tar'
    capsys.readouterr()
    for more, rate in (([], 0.02), (['--no-resume-opt'], 0.001)):
        flags = ['--lr', '0.001', '--epochs', '2', '--resume', last, *more, '--experiment', f'b{len(more)}']
        assert main([*line, *flags]) == 0
        said = f'each update: 20 images, learning rate {rate:g}'
        assert said in capsys.readouterr().err
        assert summary(tmp_path / 'output' / 'train' / f'b{len(more)}')[-1]['lr'] == pytest.approx(rate)


def test_a_class_map_says_how_many_classes_there_are(few_digits, scripts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'map.txt').write_text('\n'.join('0123456789') + '\nten\n')
    line = ['train', str(few_digits), *FLAGS, '--epochs', '1', '--class-map', 'map.txt', '--experiment', 'a']
    assert main(line) == 0
    checkpoint = Checkpoint.read('output/train/a')  # the best of a run's folder
    assert checkpoint.num_classes == len(checkpoint.classifier_weight()) == 11
    assert checkpoint.class_names == [*'0123456789', 'ten']


def test_weights_of_another_number_of_classes(few_digits, timm_scripts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = timm.create_model('test_dsk_resnext', num_classes=4)
    torch.save(other.state_dict(), 'four.pth')
    flags = ['--pretrained', '--pretrained-path', 'four.pth', '--epochs', '1', '--lr', '1e-9', '--experiment', 'a']
    assert main(['train', str(few_digits), *FLAGS, *flags]) == 0
    state = Checkpoint.read('output/train/a/last.pth.tar').state_dict()
    assert torch.allclose(state['conv1.weight'], other.conv1.weight, atol=1e-6)
    assert len(state['fc.weight']) == 10


def test_both_figures_of_a_run_with_averages_are_logged(few_digits, tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.chdir(tmp_path)
    caplog.set_level('INFO')
    assert main(['train', str(few_digits), *FLAGS, '--epochs', '1', '--model-ema', '--experiment', 'a']) == 0
    assert re.search(r'top1 [\d.]+, averaged weights: [\d.]+ \(best', caplog.text)
    assert 'of the averaged weights are still the initial ones' in capsys.readouterr().err
    for flag, notes in (([], 1), (['--use-ema'], 0)):
        assert main(['validate', str(few_digits), '--checkpoint', 'output/train/a', '--workers', '1', *flag]) == 0
        assert capsys.readouterr().err.count('note: these are the plain weights of output/train/a/') == notes


def test_a_run_folder_stands_for_its_best_checkpoint(few_digits, scripts, tmp_path, monkeypatch, capsys):
    """Model, image size and classes come from it; its own figure is found again at the size of the training."""
    monkeypatch.chdir(tmp_path)
    line = ['train', str(few_digits), *FLAGS, '--epochs', '2', '--lr', '0.05', '--no-aug', '--experiment', 'a']
    assert main(line) == 0
    best = max(row['eval_top1'] for row in summary(tmp_path / 'output' / 'train' / 'a'))
    capsys.readouterr()
    assert main(['validate', str(few_digits), '--checkpoint', 'output/train/a', '--workers', '1']) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index('{') :])['top1'] == pytest.approx(best, abs=1e-3)
    assert json.loads(out[out.index('{') :])['img_size'] == 32
