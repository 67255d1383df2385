"""What a training says of its data before it starts, and what it does about classes that differ."""

import shutil

import pytest

from timm_vipriors.cli import main

from .test_training import FLAGS, summary


@pytest.fixture
def data(few_digits, tmp_path, monkeypatch):
    """80 training and 40 validation images in `data`, to be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(few_digits, tmp_path / 'data')
    return tmp_path / 'data'


@pytest.fixture
def block(capsys, monkeypatch):
    """Run a training up to where it would start, and return what it said of the data."""

    def run(*argv, code=2):
        flags = [*FLAGS, '--epochs', '1']
        # the last flag is one that no script takes at its word: the check of the criterion comes after that of the data
        assert main(['train', 'data', *flags, *argv, '--criterion', 'cosine', '--criterion-kwargs', 'wrong=1']) == code
        return capsys.readouterr().err

    return run


def test_a_readable_block(data, block, scripts):
    for image in sorted((data / 'train' / '7').iterdir())[:3]:
        image.unlink()
    assert block('-b', '30').splitlines()[-6:-1] == [
        'Data in data',
        '  train       77 images  10 classes  5 to 8 in each  data/train',
        '  validation  40 images  10 classes  4 in each       data/validation',
        '  an epoch is 2 batches of 30, 17 images left over',
        '  an update learns from 30 images at a rate of 0.0117188, scaled linearly from 0.1 for 256',
    ]


def test_no_validation_and_no_remainder(data, block):
    lines = block('-b', '80', '--val-split', '').splitlines()[:-1]
    assert lines == [
        'Data in data',
        '  train  80 images  10 classes  8 in each  data/train',
        '  an epoch is 1 batch of 80',
        '  an update learns from 80 images at a rate of 0.03125, scaled linearly from 0.1 for 256',
    ]


def test_several_devices(data, block, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '3')
    monkeypatch.setenv('RANK', '0')
    assert '  an epoch is 2 batches of 13 on each of 3 devices, 1 image left over\n' in block('-b', '13')
    monkeypatch.setenv('RANK', '1')
    assert 'Data in' not in block('-b', '13')


def test_warnings(data, block, scripts):
    shutil.rmtree(data / 'validation' / '3')
    (data / 'validation' / '3').mkdir()
    shutil.rmtree(data / 'validation' / '5')
    shutil.copytree(data / 'validation' / '1', data / 'validation' / 'new')
    (data / 'train' / 'nothing').mkdir()
    (data / 'train' / '.hidden').mkdir()
    lines = [line for line in block().splitlines() if 'warning' in line and 'TIMM_SCRIPTS' not in line]
    assert lines == [
        '  warning: train has no images of 1 class: nothing',
        '  warning: validation has no images of 1 class: 3',
        '  warning: 2 classes of train cannot be evaluated, validation has no images: 3, 5',
        '  warning: 1 class of validation, not in train: new; 4 images are left out of the evaluation',
    ]


def test_long_lists_are_cut(data, block):
    for i in range(20):
        (data / 'train' / f'empty{i:02d}').mkdir()
    assert 'no images of 20 classes: empty00, empty01, empty02, empty03, empty04 and 15 more' in block()


def test_classes_of_a_map(data, block):
    (data.parent / 'map.txt').write_text('\n'.join('0123456789') + '\nten\n')
    err = block('--class-map', 'map.txt', '--num-classes', '11')
    assert 'train has no images of 1 class: ten' in err
    assert 'validation has no images of 1 class: ten' in err


def test_no_class_in_common(data, block):
    for folder in list((data / 'validation').iterdir()):
        folder.rename(folder.with_name('class' + folder.name))
    assert 'no class in common: 0, 1, 2, 3, 4 and 5 more; class0, class1,' in block()


def test_missing_classes_do_not_shift_the_others(data, scripts, tmp_path, capsys):
    """The folders of validation alone would number its classes anew. A map of all classes gives the right figures."""
    shutil.rmtree(data / 'validation' / '0')
    shutil.copytree(data / 'validation' / '1', data / 'validation' / '0a')
    (tmp_path / 'map.txt').write_text('\n'.join('0123456789'))
    flags = [*FLAGS, '--epochs', '2', '--lr', '0.01', '--no-aug']
    for name, more in (('a', []), ('b', ['--class-map', 'map.txt', '--num-classes', '10'])):
        assert main(['train', 'data', *flags, '--experiment', name, *more]) == 0
    rows = [summary(tmp_path / 'output' / 'train' / name) for name in 'ab']
    assert rows[0] == rows[1]
    assert rows[0][0]['eval_loss'] > 0


def test_checking_the_images(data, block, scripts):
    assert '  all 120 images can be read\n' in block('--check-images')
    paths = [sorted((data / 'train' / '3').iterdir())[0], sorted((data / 'validation' / '5').iterdir())[2]]
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    paths[1].write_text('hello')
    lines = block('--check-images').splitlines()[-3:]
    assert lines == [
        'timm-vipriors train: error: 2 of 120 images cannot be read; replace or remove them:',
        f'  {paths[0].relative_to(data.parent)} cannot be decoded: image file is truncated',
        f'  {paths[1].relative_to(data.parent)} is not an image that Pillow can read',
    ]
    for path in data.rglob('*.png'):
        path.write_text('hello')
    lines = block('--check-images').splitlines()
    assert lines[-1] == '  and 100 more'
    assert len([line for line in lines if 'is not an image' in line]) == 20


def test_checking_what_is_not_a_folder(block, capsys):
    assert main(['train', *FLAGS, '--dataset', 'torch/cifar10', '--check-images']) == 2
    assert '--check-images is for folders of images, not for a --dataset' in capsys.readouterr().err
