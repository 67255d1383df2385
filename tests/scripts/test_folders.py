"""What a run says of its image folders before it starts, and what it refuses."""

import shutil

import pytest

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError
from timm_vipriors.scripts.folders import Folders, averaging_warning

from .parsing import parse

SPLITS = {'train': 'train', 'validation': 'validation'}


@pytest.fixture
def data(few_digits, tmp_path, monkeypatch):
    """80 training and 40 validation images in `data`, to be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(few_digits, 'data')
    return tmp_path / 'data'


def folders(splits=None, class_map=''):
    return Folders('data', splits or SPLITS, class_map)


def refused(**kwargs):
    with pytest.raises(UserError) as e:
        folders(**kwargs).check(20)
    return str(e.value)


def test_a_readable_block(data):
    for image in sorted((data / 'train' / '7').iterdir())[:3]:
        image.unlink()
    assert folders().describe(30) == [
        'Data in data',
        '  train       77 images  10 classes  5 to 8 in each  data/train',
        '  validation  40 images  10 classes  4 in each       data/validation',
        '  an epoch is 2 batches of 30, 17 images left over',
    ]
    assert folders({'train': 'train', 'validation': ''}).describe(77)[1:] == [
        '  train  77 images  10 classes  5 to 8 in each  data/train',
        '  an epoch is 1 batch of 77',
    ]


@pytest.mark.parametrize('launcher', [{'WORLD_SIZE': '3', 'RANK': '0'}, {'SLURM_NTASKS': '3', 'SLURM_PROCID': '0'}])
def test_devices_of_torchrun_and_of_slurm(data, monkeypatch, launcher):
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    assert folders().describe(13)[-1] == '  an epoch is 2 batches of 13 on each of 3 devices, 1 image left over'
    assert folders().updates_per_epoch(parse('-b 13 --grad-accum-steps 2')) == 1
    with pytest.raises(UserError, match='fewer than one batch of 41 on each of 3 devices'):
        folders().check(41)


def test_warnings(data):
    for name in ('3', '5'):
        shutil.rmtree(data / 'validation' / name)
    (data / 'validation' / '3').mkdir()
    shutil.copytree(data / 'validation' / '1', data / 'validation' / 'new')
    (data / 'train' / 'nothing').mkdir()
    (data / 'train' / '.hidden').mkdir()
    assert folders().warnings() == [
        'train has no images of 1 class: nothing',
        'validation has no images of 1 class: 3',
        '2 classes of train cannot be evaluated, validation has no images: 3, 5',
        '1 class of validation, not in train: new; 4 images are left out of the evaluation',
    ]
    for i in range(20):
        (data / 'train' / f'empty{i:02d}').mkdir()
    assert 'no images of 21 classes: empty00, empty01, empty02, empty03, empty04 and 16 more' in folders().warnings()[0]


def test_hidden_folders_are_no_classes(data):
    for split in SPLITS:
        shutil.copytree(data / split / '1', data / split / '.ipynb_checkpoints')
    assert folders().class_names == list('0123456789')
    assert folders().describe(20)[1] == '  train       80 images  10 classes  8 in each  data/train'


def test_classes_are_in_timms_order_and_those_of_a_map_in_its(data, tmp_path):
    for i, name in enumerate(('Zoo', 'ant', 'b10', 'b9')):
        (data / 'train' / str(i)).rename(data / 'train' / name)
    assert folders().class_names == ['4', '5', '6', '7', '8', '9', 'ant', 'b9', 'b10', 'Zoo']
    (tmp_path / 'map.txt').write_text('\n'.join(['ten', *'9876543210']))
    found = folders({'validation': 'validation'}, 'map.txt')
    assert found.class_names == ['ten', *'9876543210']
    assert found.warnings() == ['validation has no images of 1 class: ten']


def test_what_cannot_be_trained_on(data, tmp_path):
    assert 'the data folder nowhere does not exist' in _error(lambda: Folders('nowhere', SPLITS))
    (tmp_path / 'empty').mkdir()
    assert "no images for the split 'train' in empty" in _error(lambda: Folders('empty', SPLITS))
    shutil.copytree(data / 'train', tmp_path / 'only' / 'train')
    sentence = _error(lambda: Folders('only', SPLITS).check(20))
    assert "only has no folder for the split 'validation': expected only/train and only/validation" in sentence
    assert '`timm-vipriors subset only/train only-split --splits train=80%,validation=20%` makes one' in sentence
    (tmp_path / 'only' / 'train').rename(tmp_path / 'my photos')
    sentence = _error(lambda: Folders('my photos', SPLITS).check(20))
    assert "`timm-vipriors subset 'my photos' 'my photos-split' --splits train=80%,validation=20%`" in sentence
    assert main(['subset', 'my photos', 'my photos-split', '--splits', 'train=80%,validation=20%']) == 0
    Folders('my photos-split', SPLITS).check(20)
    assert '80 training images are fewer than one batch of 81' in _error(lambda: folders().check(81))
    shutil.copytree(data / 'train' / '3', tmp_path / 'flat')
    assert 'flat has images that lie in no class folder' in _error(lambda: Folders('flat', {'': 'validation'}))
    (tmp_path / 'bad.txt').write_bytes(b'\xff\xfe')
    assert 'with the class map bad.txt' in refused(class_map='bad.txt')
    for folder in list((data / 'validation').iterdir()):
        folder.rename(folder.with_name('class' + folder.name))
    assert 'no class in common: 0, 1, 2, 3, 4 and 5 more; class0, class1,' in refused()


def _error(call):
    with pytest.raises(UserError) as e:
        call()
    return str(e.value)


def test_checking_the_images(data, capsys):
    folders().check_images('RGB')
    assert capsys.readouterr().err.endswith('  all 120 images can be read\n')
    paths = [sorted((data / 'train' / '3').iterdir())[0], sorted((data / 'validation' / '5').iterdir())[2]]
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    paths[1].write_text('hello')
    lines = _error(lambda: folders().check_images('L')).splitlines()
    assert lines[0] == '2 of 120 images cannot be read; replace or remove them:'
    for line, path in zip(lines[1:], paths, strict=True):
        assert str(path.relative_to(data.parent)) in line
    for path in data.rglob('*.png'):
        path.write_text('hello')
    lines = _error(lambda: folders().check_images('RGB')).splitlines()
    assert len(lines) == 22
    assert lines[-1].strip() == 'and 100 more'


@pytest.mark.parametrize(
    ('line', 'updates', 'expected'),
    [
        ('--model-ema', 400, '92 % of the averaged weights are still the initial ones'),
        ('--model-ema --model-ema-decay 0.99', 100, '37 % of the averaged'),
        ('--model-ema --model-ema-decay 0.99', 400, None),
        ('--model-ema --model-ema-warmup', 400, None),
        ('', 1, None),
    ],
)
def test_averages_that_stay_at_the_initial_weights(line, updates, expected):
    warning = averaging_warning(parse(line), updates)
    assert (warning or '') == '' if expected is None else expected in warning
