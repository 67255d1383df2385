"""Each mistake a user can make: one sentence, exit code 2, nothing written that looks like a result."""

import gc
import multiprocessing
import os
import shutil
import sys
import warnings

import pytest
import timm
import torch

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy

FLAGS = ['--model', 'test_dsk_resnext', '--img-size', '32', '--epochs', '1', '-b', '20', '--workers', '1']


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
def train_fails(fails, few_digits, scripts):
    """The same for `train` on good data, with either script."""
    return lambda *argv: fails('train', few_digits, *FLAGS, *argv)


def test_unknown_model(train_fails):
    assert train_fails('--model', 'dsk_resnext5').endswith(
        "error: unknown model 'dsk_resnext5': did you mean dsk_resnext50_32x4d?"
    )
    assert 'timm.list_models() lists what there is' in train_fails('--model', 'zzzzzzz')


def test_weights_that_are_not_there(train_fails, fails, few_digits):
    line = train_fails('--pretrained')
    assert 'there are no published weights for test_dsk_resnext: leave --pretrained out' in line
    line = fails('validate', few_digits, '--model', 'dsk_resnext50_32x4d')
    assert 'there are no published weights for dsk_resnext50_32x4d: name its weights with --checkpoint' in line


def test_unknown_criterion(train_fails):
    line = train_fails('--criterion', 'focal')
    assert "unknown criterion 'focal': known are ce, cosine, focal-cosine" in line


def test_bad_criterion_arguments(train_fails):
    assert 'it takes xent_weight, reduction' in train_fails('--criterion', 'cosine', '--criterion-kwargs', 'gamma=2')
    assert "expected key=value, got 'gamma'" in train_fails('--criterion', 'cosine', '--criterion-kwargs', 'gamma')
    assert '--criterion-kwargs and --hierarchy need a --criterion' in train_fails('--criterion-kwargs', 'gamma=2')
    line = train_fails('--criterion', 'focal-cosine', '--criterion-kwargs', 'gamma=-1')
    assert 'gamma must be at least 0.0, got -1' in line


def test_trees(train_fails, tmp_path):
    tsl = ('--criterion', 'pcl+center+tsl')
    assert '--criterion pcl+center+tsl needs a tree: --hierarchy FILE' in train_fails(*tsl)
    assert 'nowhere.json' in train_fails(*tsl, '--hierarchy', 'nowhere.json')
    (tmp_path / 'junk.json').write_text('{')
    assert 'junk.json' in train_fails(*tsl, '--hierarchy', 'junk.json')
    ClassHierarchy([3, 3, 4, 4, -1]).save('three.json')
    assert 'the hierarchy has 3 classes, expected 10' in train_fails(*tsl, '--hierarchy', 'three.json')
    assert '--hierarchy is for a criterion with +tsl' in train_fails('--criterion', 'pcl', '--hierarchy', 'three.json')
    assert '--criterion-kwargs and --hierarchy need a --criterion' in train_fails('--hierarchy', 'three.json')


def test_lsb_swap(train_fails, tmp_path):
    assert '--lsb-swap 9 --lsb-prob 0.5: k is a number of bits' in train_fails('--lsb-swap', '9')
    assert 'p is a probability and must be in 0 … 1, got 1.5' in train_fails('--lsb-swap', '2', '--lsb-prob', '1.5')
    assert '--lsb-prob needs --lsb-swap K' in train_fails('--lsb-prob', '0.9')
    assert 'invalid int value' in train_fails('--lsb-swap', 'two')
    (tmp_path / 'c.yaml').write_text('lsb_swap: 2.5\n')
    assert '--config c.yaml: lsb_swap must be a whole number, got 2.5' in train_fails('-c', 'c.yaml')


def test_lsb_swap_without_a_place_for_it(fails, few_digits, timm_scripts):
    line = fails('train', few_digits, *FLAGS, '--lsb-swap', '2', '--naflex-loader')
    assert '--lsb-swap does not go together with --naflex-loader' in line


def test_data_folder(fails, few_digits, tmp_path, scripts):
    assert 'name the data folder' in fails('train', *FLAGS)
    assert 'the data folder nowhere does not exist' in fails('train', 'nowhere', *FLAGS)
    (tmp_path / 'empty').mkdir()
    assert "no images for the split 'train' in empty" in fails('train', 'empty', *FLAGS)
    (tmp_path / 'half' / 'train').mkdir(parents=True)
    assert "no images for the split 'train' in half/train" in fails('train', 'half', *FLAGS)
    shutil.copytree(few_digits / 'train', tmp_path / 'only' / 'train')
    line = fails('train', 'only', *FLAGS)
    assert "only has no folder for the split 'validation': expected only/train and only/validation" in line
    assert 'no images for the split' in fails('validate', 'empty', '--model', 'resnet18')


def test_fewer_images_than_a_batch(train_fails, monkeypatch):
    assert '80 training images are fewer than one batch of 81' in train_fails('-b', '81')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert 'fewer than one batch of 41 on each of 2 devices' in train_fails('-b', '41')


def test_number_of_classes(train_fails, fails, few_digits):
    assert '--num-classes 12 contradicts the data' in train_fails('--num-classes', '12')
    line = fails('validate', few_digits, '--model', 'resnet18', '--num-classes', '3')
    assert '--num-classes 3 contradicts the data' in line


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without CUDA')
def test_device(train_fails):
    assert '--device cuda: there is no CUDA device, use --device cpu' in train_fails('--device', 'cuda')


@pytest.mark.parametrize('workers', ['1', '0'])
def test_corrupt_image(fails, few_digits, tmp_path, scripts, workers):
    shutil.copytree(few_digits, tmp_path / 'data')
    path = sorted((tmp_path / 'data' / 'train' / '3').iterdir())[0]
    path.write_bytes(path.read_bytes()[:60])
    line = fails('train', 'data', *FLAGS, '--workers', workers)
    assert line.startswith(f'timm-vipriors train: error: {path.relative_to(tmp_path)} cannot be decoded')


@pytest.mark.parametrize('workers', ['1', '0'])
@pytest.mark.parametrize('kind', ['broken link', 'pipe'])
def test_what_is_no_file_among_the_images(fails, few_digits, tmp_path, kind, workers, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    shutil.copytree(few_digits, tmp_path / 'data')
    path = sorted((tmp_path / 'data' / 'train' / '3').iterdir())[0]
    path.unlink()
    path.symlink_to('nowhere') if kind == 'broken link' else os.mkfifo(path)
    line = fails('train', 'data', *FLAGS, '--workers', workers)
    what = 'cannot be opened: No such file or directory' if kind == 'broken link' else 'is not a file'
    assert line == f'timm-vipriors train: error: {path.relative_to(tmp_path)} {what}'


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('epochs: 2.5', 'epochs must be a whole number, got 2.5'),
        ('epochs: true', 'epochs must be a whole number, got True'),
        ('lr: [1, 2]', 'lr must be a number, got [1, 2]'),
        ('mean: [a, {}]', 'mean must be a number, got {}'),
        ('model: 3', 'model must be a text, got 3'),
        ('model_ema: maybe', "model_ema must be true or false, got 'maybe'"),
        ('model_kwargs: zzz', "model_kwargs must be a mapping, got 'zzz'"),
        ('- a', 'expected lines of "name: value"'),
        ('', 'expected lines of "name: value"'),
        ('3: 4', 'expected lines of "name: value"'),
        ('a: [', 'is not a YAML file'),
        ('a: ' + '[' * 5000, 'is not a YAML file: it is nested too deeply'),
        ('a: 2024-99-99', 'is not a YAML file'),
        ('a: !!python/object/apply:os.mkdir [canary]', 'is not a YAML file'),
        (b'\xff\xfe\x00', 'is not a YAML file'),
        (None, 'cannot be read: Is a directory'),
    ],
)
def test_config_files(train_fails, tmp_path, content, said):
    path = tmp_path / 'c.yaml'
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        line = train_fails('--config', 'c.yaml')
    assert line.startswith('timm-vipriors train: error: --config c.yaml')
    assert said in line
    assert not (tmp_path / 'canary').exists()


def test_config_file_that_is_not_there(train_fails):
    assert '--config nowhere.yaml cannot be read: No such file or directory' in train_fails('--config=nowhere.yaml')


def test_config_file_with_a_name_that_is_no_flag(few_digits, scripts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c.yaml').write_text('epohcs: 5\nlr: 1e-3\n')  # YAML takes 1e-3 for a text
    assert main(['train', str(few_digits), *FLAGS, '-c', 'c.yaml', '--experiment', 'x', '--device', 'cpu']) == 0
    assert 'warning: c.yaml has names that are no flags of the script: epohcs\n' in capsys.readouterr().err
    assert 'lr: 0.001\n' in (tmp_path / 'output' / 'train' / 'x' / 'args.yaml').read_text()


def test_models_and_schedules_that_cannot_be_made(train_fails, fails, few_digits, tmp_path):
    assert 'test_dsk_resnext cannot be made with --model-kwargs zzz=1: ' in train_fails('--model-kwargs', 'zzz=1')
    assert 'test_dsk_resnext cannot be made with --gp zz: ' in train_fails('--gp', 'zz')
    model = timm.create_model('test_dsk_resnext', num_classes=10)
    torch.save(model.state_dict(), 'm.pth')
    line = fails('validate', few_digits, *FLAGS[:4], '--checkpoint', 'm.pth', '--gp', 'zz', allowed=())
    assert 'test_dsk_resnext cannot be made with --gp zz: ' in line
    assert '--sched' in train_fails('--sched', 'nonsense')
    assert '--sched step cannot be made with' in train_fails('--sched', 'step', '--decay-epochs', '0')


def test_damaged_checkpoints(train_fails, fails, few_digits, tmp_path):
    state = timm.create_model('test_dsk_resnext', num_classes=10).state_dict()
    torch.save({'state_dict': state, 'epoch': 0}, 'm.pth')
    data = bytearray((tmp_path / 'm.pth').read_bytes())
    data[data.index(state['fc.weight'].numpy().tobytes())] ^= 1
    (tmp_path / 'm.pth').write_bytes(data)
    for flag in ('--resume', '--initial-checkpoint'):
        assert 'm.pth is damaged, the checksum of' in train_fails(flag, 'm.pth')
    line = fails('validate', few_digits, *FLAGS[:4], '--checkpoint', 'm.pth')
    assert 'm.pth is damaged, the checksum of' in line


def test_checkpoints(train_fails, fails, few_digits, tmp_path):
    assert '--resume: none.pth does not exist' in train_fails('--resume', 'none.pth')
    assert '--initial-checkpoint: none.pth does not exist' in train_fails('--initial-checkpoint', 'none.pth')
    (tmp_path / 'junk.pth').write_text('junk')
    for flag in ('--resume', '--initial-checkpoint'):
        assert 'junk.pth is not a checkpoint' in train_fails(flag, 'junk.pth')
    torch.save({'arch': 'resnet18', 'state_dict': {'fc.bias': torch.zeros(4)}, 'epoch': 0}, 'other.pth')
    expected = (
        'other.pth is a checkpoint of resnet18 with 4 classes, which does not fit --model test_dsk_resnext with '
        '10 classes'
    )
    for flag in ('--resume', '--initial-checkpoint'):
        assert train_fails(flag, 'other.pth').endswith(expected)
    line = fails('validate', few_digits, '--img-size', 32, '--model', 'test_dsk_resnext', '--checkpoint', 'other.pth')
    assert line.endswith(expected)


def test_a_checkpoint_with_code_is_not_run(train_fails, tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / 'hacked'), 'w'))

    torch.save({'state_dict': {}, 'x': Code()}, 'evil.pth')
    for flag in ('--resume', '--initial-checkpoint'):
        assert 'evil.pth is not a checkpoint' in train_fails(flag, 'evil.pth')
    assert not (tmp_path / 'hacked').exists()


def test_images_too_small_for_the_network(train_fails):
    assert 'its anti-aliasing needs an --img-size of 32 or more' in train_fails('--img-size', '8')


def test_a_run_is_not_written_over(fails, few_digits, tmp_path, scripts):
    folder = tmp_path / 'output' / 'train' / 'mine'
    folder.mkdir(parents=True)
    (folder / 'summary.csv').write_text('kept')
    line = fails('train', few_digits, *FLAGS, '--experiment', 'mine', allowed=[folder / 'summary.csv'])
    assert line.endswith(
        'output/train/mine holds a run already: go on with it (--resume auto), or name another --experiment'
    )
    assert (folder / 'summary.csv').read_text() == 'kept'
    assert [p.name for p in folder.iterdir()] == ['summary.csv']


def test_scripts_folder_without_scripts(fails, few_digits, tmp_path, monkeypatch):
    monkeypatch.setenv('TIMM_SCRIPTS', str(tmp_path))
    for name in ('train', 'validate'):
        line = fails(name, few_digits)
        assert f'which has no {name}.py: point it at a checkout of pytorch-image-models, or unset it' in line
    (tmp_path / 'train.py').write_text('import sys\n')
    assert 'is not a script of timm that we know: it has no parser, main' in fails('train', few_digits)


def test_flag_of_timms_script_alone(fails, few_digits, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    line = fails('train', few_digits, *FLAGS, '--jsd-loss')
    assert 'unrecognized arguments: --jsd-loss (the bundled script has no such flag)' in line
    assert 'export TIMM_SCRIPTS=' in line


def test_losses_that_exclude_one_another(fails, few_digits, timm_scripts):
    for flag in ('--jsd-loss', '--bce-loss'):
        line = fails('train', few_digits, *FLAGS, '--criterion', 'cosine', flag)
        assert 'leave --jsd-loss and --bce-loss out' in line
    line = fails('train', few_digits, *FLAGS, '--criterion', 'cosine', '--kd-model-name', 'resnet18')
    assert 'leave --kd-model-name out' in line


def test_nothing_is_left_changed(train_fails):
    argv = list(sys.argv)
    train_fails('--model', 'zzzzzzz')
    assert sys.argv == argv


def test_loader_processes_end_with_the_run(fails, few_digits, tmp_path, scripts):
    """Left to the garbage collector they wait for five seconds each, at some later moment."""
    gc.collect()
    gc.disable()
    before = set(multiprocessing.active_children())
    try:
        assert main(['train', str(few_digits), *FLAGS, '--device', 'cpu', '--output', str(tmp_path / 'out')]) == 0
        assert not set(multiprocessing.active_children()) - before
        shutil.rmtree(tmp_path / 'out')
        shutil.copytree(few_digits, tmp_path / 'data')
        path = min((tmp_path / 'data' / 'train' / '3').iterdir())
        path.write_bytes(path.read_bytes()[:60])
        assert 'cannot be decoded' in fails('train', 'data', *FLAGS, '--device', 'cpu')
        assert not set(multiprocessing.active_children()) - before
    finally:
        gc.enable()
