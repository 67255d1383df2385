"""Subsets: which images are chosen, and what is made of them."""

import os
import shutil

import pytest
from PIL import Image
from timm.data import create_dataset

from timm_vipriors.commands.subset import parse_splits
from timm_vipriors.data import StrictImageDataset
from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError

from .subset_files import CLASSES, SPLITS, rows, tree, write_images

ODD = [
    ' space.png',
    'new\nline.jpg',
    'carriage\rreturn.jpg',
    'comma,.jpg',
    'quote".jpg',
    "apostrophe'.JPEG",
    'ünïcödé 😀.PNG',
    'back\\slash.png',
    'line\u2028separator.png',
    '-dash.png',
    'x' * 251 + '.png',
]


@pytest.mark.parametrize('images', [7, 10, 48, 49, 50, 51])
def test_fractions_of_a_class(images, tmp_path):
    """No image is lost or taken twice, and each part is within one image of what it should be."""
    src = write_images(tmp_path / 'src', {'c': [f'{i}.jpg' for i in range(images)]})
    splits = parse_splits('train=60%,val=30%,test=10%', None)
    assert splits == {'train': 0.6, 'val': 0.3, 'test': 0.1}
    counts = make_subset(src, tmp_path / 'dst', splits)
    files = [file for _, _, file in rows(tmp_path / 'dst')]
    assert len(files) == len(set(files)) == sum(counts.values()) == images
    assert all(abs(counts[split] - part * images) < 1 for split, part in splits.items())
    assert make_subset(src, tmp_path / 'less', {'train': 0.6}) == {'train': counts['train']}
    assert set(rows(tmp_path / 'less')) == {row for row in rows(tmp_path / 'dst') if row[0] == 'train'}


def test_fractions_of_small_classes(tmp_path, dst):
    """Each split has an image of each class, if there are enough for all."""
    src = write_images(tmp_path / 'src', {f'c{n}': [f'{i}.jpg' for i in range(n)] for n in range(3, 13)})
    splits = {'a': 0.04, 'b': 0.92, 'c': 0.04}
    make_subset(src, dst, splits)
    for n in range(3, 13):
        numbers = [len(list((dst / split / f'c{n}').iterdir())) for split in splits]
        assert numbers == [1, n - 2, 1]


def test_splits_are_disjoint_balanced_and_complete(source, dst, partial):
    assert make_subset(source, dst, SPLITS) == {'train': 12, 'val': 8}
    files = rows(dst)
    assert len({(label, file) for _, label, file in files}) == len(files) == 20
    assert [row[:2] for row in files] == [(s, label) for label in CLASSES for s, n in SPLITS.items() for _ in range(n)]
    assert {p.relative_to(dst).parts for p in dst.glob('*/*/*')} == set(files)
    assert {p.name for p in dst.iterdir()} == {'train', 'val', 'manifest.csv'}
    assert not partial.exists()
    assert make_subset(source, dst.with_name('all'), {'train': 7, 'val': 1}) == {'train': 28, 'val': 4}


def test_the_choice_is_the_same_everywhere(tmp_path, dst):
    src = write_images(tmp_path / 'src', {'c': [f'{i}.jpg' for i in range(10)]})
    make_subset(src, dst, SPLITS, seed=3)
    assert [file for *_, file in rows(dst)] == ['9.jpg', '5.jpg', '6.jpg', '3.jpg', '4.jpg']


def test_the_choice_depends_on_the_seed_and_the_class_alone(source, dst, tmp_path):
    names = [f'{i}.jpg' for i in range(8)]
    other = write_images(tmp_path / 'other', {'c2': names[::-1], 'new': names, 'c0': names})
    make_subset(source, dst, SPLITS)
    make_subset(other, tmp_path / 'other_dst', SPLITS)
    ours, theirs = ([r for r in rows(root) if r[1] in ('c0', 'c2')] for root in (dst, tmp_path / 'other_dst'))
    assert ours == theirs
    assert len({tuple(file for _, c, file in rows(dst) if c == label) for label in CLASSES}) > 1
    make_subset(source, tmp_path / 'seed', SPLITS, seed=1)
    assert rows(tmp_path / 'seed') != rows(dst)


def test_smaller_first_splits_are_parts_of_larger_ones(source, tmp_path):
    chosen = []
    for number in (1, 3, 6):
        make_subset(source, tmp_path / str(number), {'train': number, 'val': 2})
        chosen.append({row for row in rows(tmp_path / str(number)) if row[0] == 'train'})
    assert chosen[0] < chosen[1] < chosen[2]


@pytest.mark.parametrize('copy', [False, True])
def test_timm_reads_the_result(tmp_path, dst, copy):
    for label, grey in (('cat', 0), ('dog', 200)):
        (tmp_path / 'src' / label).mkdir(parents=True)
        for i in range(5):
            Image.new('RGB', (8, 8), (grey,) * 3).save(tmp_path / 'src' / label / f'{i}.{"png" if i else "JPEG"}')
    make_subset(tmp_path / 'src', dst, SPLITS, copy=copy)
    for split, number in (('train', 6), ('validation', 4)):
        data = StrictImageDataset.of(create_dataset('', root=str(dst), split=split))  # timm's own leaves files open
        assert len(data) == number
        assert data.reader.class_to_idx == {'cat': 0, 'dog': 1}
        assert all(image.getpixel((4, 4)) == ((0, 200)[label],) * 3 for image, label in data)


@pytest.mark.parametrize(
    ('splits', 'words'),
    [
        (
            {'train': 6, 'val': 2},
            [
                'have fewer than the 8 images needed (6 for train + 2 for val): ',
                "'few0' has 0, 'few1' has 1, 'few2' has 2, 'few3' has 3, 'few4' has 4 and 3 more",
                'Use smaller numbers (--per-class, --splits)',
                'skipped 1 file whose endings are not those of images: .heif_ (1)',
                '8 of 9 classes',
            ],
        ),
        (
            {'train': 0.8, 'val': 0.2},
            [
                '2 of 9 classes',
                'fewer than the 2 images needed (one in each split: 80% for train + 20% for val): ',
                'Add images, or remove these folders',
            ],
        ),
    ],
)
def test_too_few_images(tmp_path, dst, splits, words):
    few = {f'few{i}': [f'{j}.jpg' for j in range(i)] for i in range(8)}
    src = write_images(tmp_path / 'src', {'enough': [*(f'{i}.jpg' for i in range(9)), '9.heif_'], **few})
    with pytest.raises(UserError) as e:
        make_subset(src, dst, splits)
    assert all(word in str(e.value) for word in words), e.value
    assert not dst.exists()


BAD_SPLITS = [
    *(({'train': 1, 'val': number}, "'val' must have at least 1") for number in (0, -1, True, '3', 1.5, float('nan'))),
    *((splits, 'fractions that add up to 100 %') for splits in ({'a': 0.8, 'b': 0.3}, {'a': 0.5, 'b': 3})),
    *(
        ({split: 1}, 'a plain name of a split')
        for split in ('', '.x', 'a/b', 'a\\b', '..', 'Manifest.csv', 'x\0', 'x' * 256)
    ),
    ({'\udcff': 1}, 'not in UTF-8'),
    ({}, 'say which images'),
]


@pytest.mark.parametrize(('splits', 'message'), BAD_SPLITS)
def test_bad_splits(source, dst, splits, message):
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, splits)
    assert not dst.exists()


# links and copies


def test_links_are_absolute_and_lead_to_the_image_itself(tmp_path, dst, monkeypatch):
    src = write_images(tmp_path / 'src', {'c0': ['real', '1.jpg']})
    (src / 'c0' / '0.jpg').symlink_to('real')
    (src / 'c1').symlink_to(write_images(tmp_path / 'elsewhere', {'c1': ['0.jpg', '1.jpg']}) / 'c1')
    (tmp_path / 'way').symlink_to('src')
    monkeypatch.chdir(tmp_path)
    make_subset('way', 'dst', {'all': 2})
    for _, label, file in rows(dst):
        assert os.readlink(dst / 'all' / label / file) == os.path.realpath(src / label / file)
    make_subset(dst / 'all', tmp_path / 'again', {'x': 2})  # a subset of a subset does not need it
    shutil.rmtree(dst)
    assert all(path.read_bytes() for path in (tmp_path / 'again').rglob('*.jpg'))


def test_copies_are_files_of_their_own(source, dst, tmp_path):
    os.utime(source / 'c0' / '0.jpg', (1e9, 1e9))
    make_subset(source, tmp_path / 'links', {'all': 8})
    make_subset(tmp_path / 'links' / 'all', dst, {'all': 8}, copy=True)
    copied = dst / 'all' / 'c0' / '0.jpg'
    assert copied.stat().st_mtime == 1e9
    assert {kind for kind, *_ in tree(dst).values()} == {'file', 'folder'}
    assert not list(dst.rglob('.*'))
    copied.write_bytes(b'changed')
    assert (source / 'c0' / '0.jpg').read_bytes() == b'c0/0.jpg'


@pytest.mark.parametrize('copy', [False, True])
def test_odd_names_survive_the_manifest(tmp_path, dst, copy):
    src = write_images(tmp_path / 'src', {'plain': ODD, 'cl,a"ss\n\rü ': ODD})
    make_subset(src, dst, {'train': len(ODD) - 2, 'val, "x"\n': 2}, copy=copy)
    assert {file for _, _, file in rows(dst)} == set(ODD)
    for split, label, file in rows(dst):
        assert (dst / split / label / file).read_bytes() == (src / label / file).read_bytes()
    make_subset(src, tmp_path / 'again', lists=dst / 'manifest.csv', copy=copy)
    assert tree(tmp_path / 'again') == tree(dst)
