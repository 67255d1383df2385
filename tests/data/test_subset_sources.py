"""Where the images of a subset come from, and what is refused."""

import shutil
from pathlib import Path

import pytest

from timm_vipriors.cli import main
from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError

from .subset_files import rows, tree, write_images


def no_classes(src):
    write_images(src, {'.hidden': ['0.jpg']})
    (src / '0.jpg').write_text('x')


def broken_link(src):
    write_images(src, {'c0': ['0.jpg']})
    (src / 'c0' / '1.jpg').symlink_to('nowhere')


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda src: None, 'expected a folder with a folder for each class'),
        (lambda src: src.write_text('x'), 'expected a folder with a folder for each class'),
        (no_classes, 'no class folders: expected its images as SRC/CLASS/FILE'),
        (lambda src: write_images(src, {'train/c0': ['0.jpg']}), 'train/c0 is a folder in a class folder: .* as SRC'),
        (broken_link, r'1\.jpg is a broken link, or not a file'),
        (lambda src: write_images(src, {'c0': ['\udce9.jpg']}), r'\\udce9.* not in UTF-8'),
        (lambda src: write_images(src, {'\udce9': ['0.jpg']}), r'\\udce9.* not in UTF-8'),
    ],
)
def test_bad_sources(tmp_path, dst, make, message):
    make(tmp_path / 'src')
    with pytest.raises(UserError, match=message):
        make_subset(tmp_path / 'src', dst, {'train': 1})
    assert not list(tmp_path.glob('dst*'))


# several folders


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """Two folders with 20 + 9 images of two classes; some have the same name, some the same content."""
    train = write_images(tmp_path / 'A' / 'train', {c: [f'{i}.jpg' for i in range(20)] for c in ('cat', 'dog')})
    val = write_images(tmp_path / 'A' / 'val', {c: [f'{i}.jpg' for i in range(17, 26)] for c in ('cat', 'dog')})
    for name in ('17', '18'):  # one the same in name and content, one in the name only, with the same length
        (val / 'cat' / f'{name}.jpg').write_bytes((train / 'cat' / f'{name}.jpg').read_bytes())
    (val / 'cat' / '18.jpg').write_bytes((train / 'cat' / '18.jpg').read_bytes()[::-1])
    (val / 'dog' / '25.jpg').write_bytes((train / 'dog' / '3.jpg').read_bytes())
    (val / 'dog' / '24.jpg').write_bytes((train / 'cat' / '3.jpg').read_bytes())  # not of its class
    return train, val


def test_folders_are_merged(two, dst, tmp_path, capsys):
    line = ['subset', *map(str, two), str(dst), '--splits', 'train=96%,validation=4%']
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f'{dst}: 2 classes, 54 images in train, 2 in validation; ')
    assert err == f'{two[0]}, {two[1]}: 2 images left out, with the same content as another one of the class\n'
    for label in ('cat', 'dog'):
        there = {path.read_bytes() for folder in two for path in (folder / label).iterdir()}
        made = [path.read_bytes() for path in dst.glob(f'*/{label}/*')]
        assert len(made) == len(set(made)) == 28
        assert set(made) == there
    names = {f'{label}/{file}' for _, label, file in rows(dst)}
    assert {'cat/train_17.jpg', 'cat/train_18.jpg', 'cat/val_18.jpg', 'dog/val_19.jpg', 'dog/24.jpg'} <= names
    assert not {'cat/val_17.jpg', 'dog/25.jpg', 'dog/val_25.jpg', 'cat/18.jpg'} & names
    for sources in (two, two[::-1]):  # names, not places, say which image is meant
        again = tmp_path / sources[0].name
        make_subset(sources, again, lists=dst / 'manifest.csv')
        assert tree(again) == tree(dst)
    assert main(line) == 0
    assert ': is there already, 2 classes' in capsys.readouterr().out


def test_a_part_of_the_last_folder_is_reserved(two, dst, tmp_path, capsys):
    """VIPF's final stage: all training images, and most of the validation images."""
    assert main(['subset', *map(str, two), str(dst), '--reserve', '25%', '--seed', '1']) == 0
    assert capsys.readouterr().out.startswith(f'{dst}: 2 classes, 52 images in train, 4 in validation; ')
    for label in ('cat', 'dog'):
        there = {path.read_bytes() for folder in two for path in (folder / label).iterdir()}
        made = {split: [p.read_bytes() for p in (dst / split / label).iterdir()] for split in ('train', 'validation')}
        assert sorted(made['train'] + made['validation']) == sorted(there)
        trained_on = {path.read_bytes() for path in (two[0] / label).iterdir()}
        assert len(made['validation']) == 2 and not set(made['validation']) & trained_on
    make_subset(two, tmp_path / 'other', reserve=0.25, seed=2)
    assert tree(tmp_path / 'other') != tree(dst)
    make_subset(two, tmp_path / 'again', lists=dst / 'manifest.csv')
    assert tree(tmp_path / 'again') == tree(dst)
    for part in ('0%', '10', '100%', '-1%', 'x%'):
        assert main(['subset', *map(str, two), f'{dst}2', f'--reserve={part}']) == 2
        assert 'reserve' in capsys.readouterr().err
    for path in (two[1] / 'dog').iterdir():
        path.unlink()
    with pytest.raises(UserError, match='the last folder has no image to reserve of dog'):
        make_subset(two, f'{dst}2', reserve=0.1)


def test_a_split_has_any_of_timms_names(two, dst, tmp_path):
    make_subset([two[0].with_name('training'), two[1].with_name('validation')], dst, {'validation': 0.2, 'train': 0.8})
    make_subset(two, tmp_path / 'other', {'validation': 0.2, 'train': 0.8})
    assert tree(dst) == tree(tmp_path / 'other')
    with pytest.raises(UserError, match=r'A/test.* is not a folder that exists'):
        make_subset([two[0], two[1].with_name('test')], dst, {'train': 1})


def test_folders_of_one_name(two, dst, tmp_path):
    (tmp_path / 'B').mkdir()
    other = two[1].rename(tmp_path / 'B' / 'train')
    make_subset([two[0], other], dst, {'train': 28})
    assert {'A_train_18.jpg', 'B_train_18.jpg', '0.jpg'} <= {file for _, label, file in rows(dst) if label == 'cat'}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda train, val: (val / 'cat').rename(val / 'Cat'), 'different classes, Cat, cat in one of them only'),
        (lambda train, val: shutil.rmtree(train / 'dog'), 'different classes, dog in one of them only'),
        (lambda train, val: shutil.copytree(train / 'cat', train / 'Cat'), 'different classes, Cat in'),
        (lambda train, val: (train / 'cat/1.jpg').rename(train / 'cat/val_18.jpg'), 'val_18.jpg, as another image is'),
        (lambda train, val: (train / 'cat/1.jpg').write_bytes(b''), '1 image of 0 bytes: .*train/cat/1.jpg'),
    ],
)
def test_folders_that_cannot_be_merged(two, dst, change, message):
    change(*two)
    with pytest.raises(UserError, match=f'^[^\n]*{message}[^\n]*$'):
        make_subset(two, dst, {'train': 1.0})
    with pytest.raises(UserError, match='one folder is given twice'):
        make_subset([two[0], two[0]], dst, {'train': 1})
    assert not list(dst.parent.glob('dst*'))


@pytest.mark.parametrize('other', ['Cat', 'CAT', 'e\u0301', 'stra\u00dfe'])
def test_classes_that_some_systems_take_for_one(tmp_path, dst, other):
    src = write_images(tmp_path / 'src', {name: ['0.jpg'] for name in ('cat', '\u00e9', 'STRASSE', other)})
    with pytest.raises(UserError, match='differ only in letter case or in how Unicode writes') as e:
        make_subset(src, dst, {'train': 1})
    assert str(e.value).isascii()  # or the two would look alike
