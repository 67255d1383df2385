"""What is checked before a script starts: one sentence, exit code 2, nothing written that looks like a result."""

import argparse
import shutil

import pytest
import timm
import torch

from timm_vipriors.checkpoint import DESCRIPTION
from timm_vipriors.cli import main

FLAGS = '--model test_dsk_resnext --img-size 32 --epochs 1 -b 20 --workers 1'.split()


@pytest.fixture
def fails(tmp_path, monkeypatch, capsys):
    """Run a command that must fail, in an empty folder, and return its last line."""
    monkeypatch.chdir(tmp_path)

    def run(*argv, allowed=()):
        try:
            code = main([str(a) for a in argv])
        except SystemExit as e:
            code = e.code
        err = capsys.readouterr().err.strip().splitlines()
        assert code == 2, err
        assert not any('Traceback' in line for line in err)
        assert list(tmp_path.rglob('summary.csv')) == list(allowed)
        assert not list(tmp_path.rglob('*.pth.tar'))
        return err[-1]

    return run


@pytest.fixture
def train_fails(fails, few_digits, monkeypatch):
    """The same for `train` on good data, with the bundled script."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    return lambda *argv: fails('train', few_digits, *FLAGS, *argv)


def save(path, classes=10, model='test_dsk_resnext', **content):
    """A checkpoint as a training script writes it, as far as it is needed here."""
    network = timm.create_model(model, num_classes=classes)
    args = argparse.Namespace(model=model, num_classes=classes, img_size=32)
    torch.save({'arch': model, 'state_dict': network.state_dict(), 'epoch': 0, 'args': args, **content}, path)
    return path


def test_one_check_of_each_kind_with_either_script(fails, few_digits, scripts, tmp_path):
    for argv, sentence in (
        (['--model', 'dsk_resnext5'], "unknown model 'dsk_resnext5': did you mean dsk_resnext50_32x4d?"),
        (['--pretrained'], 'there are no published weights for test_dsk_resnext: leave --pretrained out'),
        (['--epochs', '0'], '--epochs must be from 1, got 0'),
        (['-b', '81'], '80 training images are fewer than one batch of 81'),
        (['--num-classes', '12'], '--num-classes 12 contradicts the data: there are 10 classes in'),
        (['--config', 'nowhere.yaml'], "--config: [Errno 2] No such file or directory: 'nowhere.yaml'"),
        (['--resume', 'none.pth'], 'none.pth does not exist'),
        (['--model-kwargs', 'zzz=1'], 'test_dsk_resnext cannot be made with --model-kwargs zzz=1: '),
        (['--gp', 'zz'], 'test_dsk_resnext cannot be made with --gp zz: '),
        (['--img-size', '8'], 'its anti-aliasing needs an --img-size of 32 or more'),
        (['--criterion', 'focal-cosine', '--criterion-kwargs', 'gamma=-1'], 'gamma must be'),
    ):
        assert sentence in fails('train', few_digits, *FLAGS, *argv), argv


def test_models_and_weights(train_fails, fails, few_digits):
    assert 'timm.list_models() lists what there is' in train_fails('--model', 'zzzzzzz')
    assert 'name what to measure: --checkpoint with a file' in fails('validate', few_digits)
    line = fails('validate', few_digits, '--model', 'dsk_resnext50_32x4d')
    assert 'there are no published weights for dsk_resnext50_32x4d: name its weights with --checkpoint' in line


def test_flags_of_timms_own_script(fails, few_digits, timm_scripts):
    line = fails('train', few_digits, *FLAGS, '--lsb-swap', '2', '--naflex-loader')
    assert '--lsb-swap does not work with --naflex-loader' in line
    for flags in ([], ['--pretrained']):
        line = fails('train', few_digits, *FLAGS, *flags, '--pretrained-path', 'x.pth')
        assert '--pretrained-path x.pth: expected a file, and --pretrained beside it' in line
    line = fails('train', few_digits, *FLAGS, '--criterion', 'pcl', '--bce-loss')
    assert 'leave --jsd-loss and --bce-loss out' in line


def test_data(fails, tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    assert 'give the data folder' in fails('train', *FLAGS)
    for flags in (['--check-images'], ['--class-weights', 'balanced']):
        line = fails('train', *FLAGS, '--dataset', 'torch/cifar10', *flags)
        assert f'{flags[0]} is for folders of images, not for torch/cifar10' in line


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without CUDA')
def test_device(train_fails):
    assert '--device cuda: there is no CUDA device, use --device cpu' in train_fails('--device', 'cuda')


def test_checkpoints_that_cannot_be_used(train_fails, fails, few_digits, tmp_path):
    (tmp_path / 'junk.pth').write_text('junk')
    (tmp_path / 'folder').mkdir()
    save(tmp_path / 'four.pth', classes=4)
    save(tmp_path / 'other.pth', model='test_resnet')
    save(tmp_path / 'm.pth')
    data = bytearray((tmp_path / 'm.pth').read_bytes())
    weight = torch.load(tmp_path / 'm.pth', weights_only=False)['state_dict']['fc.weight']
    data[data.index(weight.numpy().tobytes())] ^= 1
    (tmp_path / 'm.pth').write_bytes(data)
    expected = {
        'junk.pth': 'junk.pth is not a checkpoint',
        'folder': 'folder has no checkpoint: expected model_best.pth.tar or last.pth.tar',
        'four.pth': 'with 4 classes, which does not fit --model test_dsk_resnext with 10 classes',
        'other.pth': 'is a checkpoint of test_resnet with 10 classes, which does not fit --model test_dsk_resnext',
        'm.pth': 'm.pth is damaged: the checksum of',
    }
    for name, sentence in expected.items():
        for flag in ('--resume', '--initial-checkpoint'):
            assert sentence in train_fails(flag, name), (flag, name)
    assert 'm.pth is damaged' in fails('validate', few_digits, '--checkpoint', 'm.pth')


def test_other_classes_than_the_checkpoints(train_fails, fails, few_digits, tmp_path):
    save('c.pth', **{DESCRIPTION: {'class_names': [*'abcdefghij']}})
    sentence = 'has other classes than c.pth: new 0, 1, 2, 3, 4 and 5 more'
    assert sentence in train_fails('--resume', 'c.pth')
    assert sentence in fails('validate', few_digits, '--checkpoint', 'c.pth')
    line = fails('validate', few_digits, '--checkpoint', 'c.pth', '--model', 'resnet18')
    assert '--model resnet18 contradicts c.pth, which says test_dsk_resnext' in line


def test_a_run_is_not_overwritten(fails, few_digits, tmp_path, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    path = tmp_path / 'output' / 'train' / 'mine' / 'summary.csv'
    path.parent.mkdir(parents=True)
    path.write_text('epoch,loss\n0,1\n1,2\n')
    line = ('train', few_digits, *FLAGS, '--experiment', 'mine')
    said = fails(*line, allowed=[path])
    assert said.endswith('train/mine already holds a run: resume it with --resume auto, or name another --experiment')
    assert 'whose last.pth.tar is missing' in fails(*line, '--resume', 'auto', allowed=[path])
    assert path.read_text() == 'epoch,loss\n0,1\n1,2\n'
    (tmp_path / 'file').write_text('')
    assert 'file/x' in fails(*line, '--output', 'file/x', allowed=[path])


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(few_digits, tmp_path, monkeypatch, scripts):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'output' / 'train' / 'mine' / 'summary.csv'
    path.parent.mkdir(parents=True)
    path.write_text('epoch,loss\n0,1\n')
    assert main(['train', str(few_digits), *FLAGS, '--experiment', 'mine', '--resume', 'auto']) == 0
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize('workers', ['1', '0'])
@pytest.mark.parametrize('kind', ['half an image', 'broken link', 'pipe'])
def test_broken_images(fails, few_digits, tmp_path, kind, workers, monkeypatch):
    import os

    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    shutil.copytree(few_digits, tmp_path / 'data')
    path = sorted((tmp_path / 'data' / 'train' / '3').iterdir())[0]
    half = path.read_bytes()[:60]
    path.unlink()
    said = {'half an image': 'cannot be decoded', 'broken link': 'cannot be opened', 'pipe': 'is not a file'}[kind]
    if kind == 'half an image':
        path.write_bytes(half)
    else:
        path.symlink_to('nowhere') if kind == 'broken link' else os.mkfifo(path)
    line = fails('train', 'data', *FLAGS, '--workers', workers)
    assert line.startswith(f'timm-vipriors train: error: {path.relative_to(tmp_path)} {said}')
