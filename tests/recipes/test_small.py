"""What small.sh chooses, and that it trains."""

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.cli import main
from timm_vipriors.data import make_demo_data
from timm_vipriors.recipes import small
from timm_vipriors.recipes.small import Facts, choose

from .running import dry_run


def flags_of(facts, **kwargs):
    words = [word for choice in choose(facts, device='cpu', **kwargs) for word in choice.flags]
    return {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith('--')}


@pytest.mark.parametrize('images', [2, 7, 33, 100, 160, 317, 1500, 4999])
def test_an_epoch_leaves_less_than_a_tenth_out(images):
    batch = int(flags_of(Facts(images, 2, 1, 32, True), minutes=0.5)['--batch-size'])
    assert 1 <= batch <= 32
    assert images % batch < max(1, images / 10)


@pytest.mark.parametrize(('side', 'size'), [(8, 32), (28, 32), (64, 64), (100, 96), (375, 128)])
def test_image_size_is_that_of_the_data(monkeypatch, side, size):
    monkeypatch.setattr(small, 'step_seconds', lambda *_: 0.01)
    assert flags_of(Facts(64, 2, 32, side, True), minutes=0.5)['--img-size'] == str(size)


@pytest.mark.parametrize(
    ('minutes', 'size', 'epochs'),
    # 4 steps of 1 s at 128 pixels: (45 minutes - 10) / (4 (size / 128)²), and 64 pixels are the least
    [(6, '128', 65), (5, '96', 95), (2.5, '64', 102), (1, '64', 35)],
)
def test_images_are_smaller_where_epochs_would_be_few(monkeypatch, minutes, size, epochs):
    monkeypatch.setattr(small, 'step_seconds', lambda size, *_: (size / 128) ** 2)
    flags = flags_of(Facts(128, 8, 16, 600, False), minutes=minutes)
    assert (flags['--img-size'], int(flags['--epochs'])) == (size, epochs)


def test_only_long_runs_have_randaugment(monkeypatch):
    monkeypatch.setattr(small, 'step_seconds', lambda *_: 0.1)
    for minutes, augmented in ((1, False), (5, True)):
        flags = flags_of(Facts(128, 8, 16, 64, True), minutes=minutes)
        assert ('--aa' in flags) == augmented == (int(flags['--epochs']) >= 100)


def test_large_photos_are_kept_small(monkeypatch):
    monkeypatch.setattr(small, 'step_seconds', lambda *_: 0.01)
    assert '--cache-shrink' not in flags_of(Facts(64, 2, 32, 375, False), minutes=1)
    flags = flags_of(Facts(64, 2, 32, 2000, False, seconds=0.1), minutes=1)
    assert flags['--cache'] == 'ram' and '--cache-shrink' in flags


def test_epochs_follow_time():
    facts = Facts(1500, 500, 3, 32, True)
    short, long = (int(flags_of(facts, minutes=minutes)['--epochs']) for minutes in (2, 20))
    assert 5 <= short < long <= 1000
    assert (facts.minutes, Facts(160, 8, 20, 64, True).minutes, Facts(600, 2, 9, 64, True).minutes) == (25, 3, 10)


def test_facts(tmp_path):
    rng = np.random.default_rng(0)
    for split, name, number in (('train', 'b', 5), ('train', 'a', 3), ('validation', 'a', 1), ('validation', 'b', 1)):
        (tmp_path / split / name).mkdir(parents=True)
        for i in range(number):
            Image.fromarray(rng.integers(0, 256, (40, 60 + i), np.uint8)).save(tmp_path / split / name / f'{i}.png')
    facts = Facts.of(str(tmp_path))
    assert (facts.images, facts.classes, facts.fewest, facts.side, facts.gray) == (8, 2, 3, 40, True)
    Image.new('RGB', (40, 40), (200, 30, 30)).save(tmp_path / 'train' / 'a' / '0.png')
    assert not Facts.of(str(tmp_path)).gray
    assert flags_of(facts, minutes=0.5)['--hflip'] == '0'
    assert flags_of(Facts(8, 2, 3, 40, False), minutes=0.5)['--hflip'] == '0.5'


@pytest.mark.parametrize(
    ('made', 'sentence'), [((), 'does not exist'), (('train/a',), 'no images'), (('train/a/1.png',), 'two classes')]
)
def test_bad_data(tmp_path, capsys, made, sentence):
    data = tmp_path / 'data'
    for name in made:
        path = data / name
        path.parent.mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(path) if path.suffix else path.mkdir()
    assert main(['suggest', str(data)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_without_splits(tmp_path, capsys):
    """Not trained on and evaluated with the same images: the command that makes splits."""
    for name in 'ab':
        (tmp_path / 'my photos' / name).mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / 'my photos' / name / '1.png')
    assert main(['suggest', str(tmp_path / 'my photos')]) == 2
    err = capsys.readouterr().err
    assert "has no folder for the split 'train'" in err
    assert f"`timm-vipriors subset '{tmp_path}/my photos' '{tmp_path}/my photos-split' --splits train=80%" in err


def test_a_heic_photo_with_the_ending_of_a_jpeg(tmp_path, capsys):
    for name in 'ab':
        (tmp_path / 'train' / name).mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / 'train' / name / '1.jpg')
    (tmp_path / 'train' / 'b' / 'IMG 2.jpg').write_bytes(b'\0\0\0\x18ftypheic' + bytes(50))
    assert main(['suggest', str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert (
        'IMG 2.jpg is not an image that Pillow can read; by its content it is a HEIC photo or a video: convert' in err
    )


def test_the_recipe_passes_flags_on(tmp_path):
    line = dry_run('small', 'd', '--fast', '--seed', 3, cwd=tmp_path, NAME='mine')[0]
    assert line[-8:] == ['suggest', 'd', '--run', '--experiment', 'mine', '--fast', '--seed', '3']


@pytest.mark.slow
def test_it_learns_the_digits(tmp_path, capsys):
    """In half a minute it is above what an untuned network gets, and every choice has a reason."""
    make_demo_data(tmp_path / 'digits', 10, 32, 0)
    args = ['--minutes', '0.5', '--run', '--output', str(tmp_path), '--experiment', 'run', '--device', 'cpu']
    assert main(['suggest', str(tmp_path / 'digits'), *args]) == 0
    out = capsys.readouterr().out
    assert '100 gray images of 10 classes' in out
    top1 = float(out.split('Best top-1: ')[1].split(' ')[0])
    assert top1 > 80
