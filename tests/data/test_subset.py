import csv
import errno
import fcntl
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image
from timm.data import create_dataset

from timm_vipriors.cli import main
from timm_vipriors.data import StrictImageDataset, subset_tree
from timm_vipriors.data.subset import make_subset, parse_lists, parse_splits
from timm_vipriors.errors import UserError

CLASSES = ['c0', 'c1', 'c10', 'c2']
SPLITS = {'train': 3, 'val': 2}
ODD = [
    ' space.png',
    'a b.jpg',
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


def write_images(root: Path, names: dict[str, list[str]]) -> Path:
    """Files that are no images, which nothing here opens: each has its own content and length."""
    for label, files in names.items():
        (root / label).mkdir(parents=True)
        for i, file in enumerate(files):
            (root / label / file).write_bytes(f'{label}/{file}'.encode() + b'.' * i)
    return root


def tree(root: Path) -> dict[str, tuple]:
    """All that lies in a folder, and what it is."""
    if not root.is_dir():
        return {'': ('file', root.read_bytes())} if root.exists() else {}
    found = {}
    for path in root.rglob('*'):
        kind = ('link', os.readlink(path)) if path.is_symlink() else ('folder',)
        found[str(path.relative_to(root))] = kind if path.is_symlink() or path.is_dir() else ('file', path.read_bytes())
    return found


def rows(root: Path) -> list[tuple[str, str, str]]:
    with open(root / 'manifest.csv', encoding='utf-8', newline='') as file:
        header, *lines = csv.reader(file)
    assert header == ['split', 'class', 'file']
    return [tuple(line) for line in lines]


@pytest.fixture
def source(tmp_path) -> Path:
    """Four classes of eight images, with things that are none."""
    src = write_images(tmp_path / 'src', {label: [f'{i}.jpg' for i in range(8)] for label in CLASSES})
    for name in ('.hidden.jpg', 'notes.txt', 'jpg', 'image.gif'):
        (src / 'c0' / name).write_text('x')
    (src / 'c0' / '.folder').mkdir()
    (src / '.git').mkdir()
    (src / 'readme.jpg').write_text('x')
    return src


@pytest.fixture
def dst(tmp_path) -> Path:
    return tmp_path / 'dst'


@pytest.fixture(autouse=True)
def source_stays(request):
    """Whatever a test does with the source, it is the same afterwards."""
    if 'source' not in request.fixturenames:
        yield
        return
    src = request.getfixturevalue('source')
    before = tree(src)
    yield
    assert tree(src) == before


# the choice


@pytest.mark.parametrize('images', [3, 7, 10, 48, 49, 50, 51])
def test_parts_of_a_class(images, tmp_path):
    """Nothing is lost and nothing is there twice, and each part is within one image of what it should be."""
    src = write_images(tmp_path / 'src', {'c': [f'{i}.jpg' for i in range(images)]})
    splits = parse_splits('train=60%,val=30%,test=10%', None)
    assert splits == {'train': 0.6, 'val': 0.3, 'test': 0.1}
    if images == 3:
        with pytest.raises(UserError, match=r"too few images for one .* 30% for val \+ 10% for test\): 'c' has 3"):
            make_subset(src, tmp_path / 'dst', splits)
        assert not (tmp_path / 'dst').exists()
        return
    counts = make_subset(src, tmp_path / 'dst', splits)
    files = [file for _, _, file in rows(tmp_path / 'dst')]
    assert len(files) == len(set(files)) == sum(counts.values()) == images
    for split, part in splits.items():
        assert abs(counts[split] - part * images) < 1
    assert make_subset(src, tmp_path / 'less', {'train': 0.6}) == {'train': counts['train']}
    chosen = {file for split, _, file in rows(tmp_path / 'dst') if split == 'train'}
    assert {file for _, _, file in rows(tmp_path / 'less')} == chosen


@pytest.mark.parametrize(
    'splits', [{'a': 0.8, 'b': 0.3}, {'a': 0.5, 'b': 3}, {'a': 0.0}, {'a': -0.5}, {'a': 1.5}, {'a': float('nan')}]
)
def test_parts_that_are_none(splits, source, dst):
    with pytest.raises(UserError, match=r'parts of 100 % together|a float up to 1.0, got'):
        make_subset(source, dst, splits)
    assert not dst.exists()


def test_splits_are_disjoint_balanced_and_complete(source, dst):
    assert make_subset(source, dst, SPLITS) == {'train': 12, 'val': 8}
    files = rows(dst)
    assert len({(label, file) for _, label, file in files}) == len(files) == 20
    for label in CLASSES:
        for split, number in SPLITS.items():
            names = {file for s, c, file in files if (s, c) == (split, label)}
            assert len(names) == number
            assert {p.name for p in (dst / split / label).iterdir()} == names <= {f'{i}.jpg' for i in range(8)}
    assert {p.name for p in dst.iterdir()} == {'train', 'val', 'manifest.csv'}
    assert {p.name for p in (dst / 'train').iterdir()} == set(CLASSES)


def test_rows_are_class_by_class_and_split_by_split(source, dst):
    make_subset(source, dst, {'val': 1, 'a': 2})
    order = [(split, label) for split, label, _ in rows(dst)]
    assert order == [(split, label) for label in CLASSES for split in ('val', 'a', 'a')]
    assert (dst / 'manifest.csv').read_bytes().startswith(b'split,class,file\nval,c0,')


def test_the_seed_decides(source, tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        make_subset(source, tmp_path / name, SPLITS, seed=seed)
    assert tree(tmp_path / 'a') == tree(tmp_path / 'b')
    assert rows(tmp_path / 'a') != rows(tmp_path / 'c')


def test_the_choice_is_the_same_everywhere(tmp_path, dst):
    src = write_images(tmp_path / 'src', {'c': [f'{i}.jpg' for i in range(10)]})
    make_subset(src, dst, SPLITS, seed=3)
    assert [file for *_, file in rows(dst)] == ['9.jpg', '5.jpg', '6.jpg', '3.jpg', '4.jpg']


def test_a_class_depends_on_no_other_and_on_no_order(source, dst, tmp_path):
    names = [f'{i}.jpg' for i in range(8)]
    other = write_images(tmp_path / 'other', {'c2': names[::-1], 'new': names, 'c0': names})
    make_subset(source, dst, SPLITS)
    make_subset(other, tmp_path / 'other_dst', SPLITS)
    ours, theirs = ([r for r in rows(root) if r[1] in ('c0', 'c2')] for root in (dst, tmp_path / 'other_dst'))
    assert ours == theirs
    # and no two classes of the same names have the same choice
    assert len({tuple(file for _, c, file in rows(dst) if c == label) for label in CLASSES}) > 1


def test_smaller_first_splits_are_parts_of_larger_ones(source, tmp_path):
    chosen = []
    for number in (1, 3, 6):
        make_subset(source, tmp_path / str(number), {'train': number, 'val': 2})
        chosen.append({row for row in rows(tmp_path / str(number)) if row[0] == 'train'})
    assert chosen[0] < chosen[1] < chosen[2]


def test_all_images_of_a_class_can_be_taken(source, dst):
    assert make_subset(source, dst, {'train': 7, 'val': 1}) == {'train': 28, 'val': 4}


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
        for image, label in data:
            assert image.getpixel((4, 4)) == ((0, 200)[label],) * 3


# links and copies


def test_links_are_absolute_and_lead_to_the_image_itself(source, dst, tmp_path, monkeypatch):
    (source / 'c0' / '0.jpg').rename(source / 'c0' / 'real')
    (source / 'c0' / '0.jpg').symlink_to('real')
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'way').symlink_to('src')
    shutil.move(source / 'c1', tmp_path / 'elsewhere')
    (source / 'c1').symlink_to(tmp_path / 'elsewhere' / 'c1')
    try:
        monkeypatch.chdir(tmp_path)
        make_subset('way', 'dst', {'all': 8})
        for _, label, file in rows(dst):
            target = os.readlink(dst / 'all' / label / file)
            assert target == os.path.realpath(source / label / file)
        assert os.readlink(dst / 'all' / 'c0' / '0.jpg') == str(source / 'c0' / 'real')
    finally:  # for the check that the source is the same
        (source / 'c1').unlink()
        shutil.move(tmp_path / 'elsewhere' / 'c1', source)
        (source / 'c0' / 'real').replace(source / 'c0' / '0.jpg')


def test_copies_are_files_of_their_own(source, dst):
    image = source / 'c0' / '0.jpg'
    os.utime(image, (1e9, 1e9))
    make_subset(source, dst, {'all': 8}, copy=True)
    copied = dst / 'all' / 'c0' / '0.jpg'
    assert not copied.is_symlink() and copied.read_bytes() == image.read_bytes()
    assert copied.stat().st_mtime == 1e9
    assert not list(dst.rglob('.*'))
    copied.write_bytes(b'changed')
    assert image.read_bytes() == b'c0/0.jpg'


def test_copies_of_links_are_files(source, dst, tmp_path):
    make_subset(source, dst, SPLITS)
    make_subset(dst / 'train', tmp_path / 'again', {'x': 3}, copy=True)
    assert {kind for kind, *_ in tree(tmp_path / 'again').values()} == {'file', 'folder'}


def test_a_subset_of_a_subset_links_to_the_source(source, dst, tmp_path):
    make_subset(source, dst, SPLITS)
    make_subset(dst / 'train', tmp_path / 'again', {'x': 2})
    shutil.rmtree(dst)
    assert all(path.read_bytes() for path in (tmp_path / 'again').rglob('*.jpg'))


@pytest.mark.parametrize('copy', [False, True])
def test_odd_names_survive_the_manifest(tmp_path, dst, copy):
    src = write_images(tmp_path / 'src', {'plain': ODD, 'cl,a"ss\n\rü ': ODD})
    make_subset(src, dst, {'train': len(ODD) - 2, 'val, "x"\n': 2}, copy=copy)
    assert {file for _, _, file in rows(dst)} == set(ODD)
    for split, label, file in rows(dst):
        assert (dst / split / label / file).read_bytes() == (src / label / file).read_bytes()
    make_subset(src, tmp_path / 'again', lists=dst / 'manifest.csv', copy=copy)
    assert tree(tmp_path / 'again') == tree(dst)


def test_memory_does_not_grow_with_the_classes(tmp_path):
    peaks = []
    make_subset(write_images(tmp_path / 'warm', {'c': ['0.jpg']}), tmp_path / 'up', {'a': 1})
    for classes in (20, 200):
        src = write_images(
            tmp_path / f'{classes}', {f'{i:04}': [f'{j}.jpg' for j in range(20)] for i in range(classes)}
        )
        tracemalloc.start()
        make_subset(src, tmp_path / f'dst{classes}', {'train': 10, 'val': 10})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000  # the rows alone would be 800,000 bytes


# lists


@pytest.mark.parametrize('copy', [False, True])
def test_a_manifest_makes_the_same_again(source, dst, tmp_path, copy):
    make_subset(source, dst, {'val': 2, 'train': 3}, seed=5, copy=copy)
    names = [f'{i}.jpg' for i in range(9)]  # written in another order, and with more in it
    other = write_images(tmp_path / 'other', dict.fromkeys(['new', *CLASSES[::-1]], names[::-1]))
    for src, root in ((source, 'a'), (other, 'b')):
        assert make_subset(src, tmp_path / root, lists=dst / 'manifest.csv', copy=copy) == {'val': 8, 'train': 12}
        assert tree(tmp_path / root).keys() == tree(dst).keys()
        assert (tmp_path / root / 'manifest.csv').read_bytes() == (dst / 'manifest.csv').read_bytes()
    assert tree(tmp_path / 'a') == tree(dst)


def test_a_list_in_any_order_gives_one_manifest(source, dst, tmp_path):
    text = 'split,class,file\r\nval,c2,5.jpg\r\n\r\ntrain,c0,c0/3.jpg\r\nval,c0,"1.jpg"\r\ntrain,c0,2.jpg\r\n'
    (tmp_path / 'list.csv').write_bytes(b'\xef\xbb\xbf' + text.encode())
    assert make_subset(source, dst, lists=tmp_path / 'list.csv') == {'train': 2, 'val': 2}
    expected = [('train', 'c0', '3.jpg'), ('train', 'c0', '2.jpg'), ('val', 'c0', '1.jpg'), ('val', 'c2', '5.jpg')]
    assert rows(dst) == expected
    make_subset(source, tmp_path / 'again', lists=dst / 'manifest.csv')
    assert tree(tmp_path / 'again') == tree(dst)


@pytest.mark.parametrize(
    'text', ['class,file\nc1,7.jpg\nc0,2.jpg\n', 'c1,7.jpg\nc0,c0/2.jpg', 'c1/7.jpg\n\nc0/2.jpg\n']
)
def test_lists_of_one_split(source, dst, tmp_path, text):
    (tmp_path / 'a').write_text(text)
    (tmp_path / 'b').write_text('c0/0.jpg\n')
    assert make_subset(source, dst, lists={'train': tmp_path / 'a', 'val': tmp_path / 'b'}) == {'train': 2, 'val': 1}
    assert rows(dst) == [('train', 'c0', '2.jpg'), ('val', 'c0', '0.jpg'), ('train', 'c1', '7.jpg')]


GOOD = 'split,class,file\ntrain,c0,0.jpg\n'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'has no rows'),
        ('split,class,file\n', 'has no rows'),
        ('class,file\nc0,0.jpg\n', 'line 1: expected the header split,class,file, got .*SPLIT=FILE'),
        ('train,c0,0.jpg\n', 'line 1: expected the header'),
        ('c0/0.jpg\n', 'line 1: expected the header'),
        (GOOD + 'c0,1.jpg\n', 'line 3: expected the columns split,class,file'),
        (GOOD + 'train,c0,1.jpg,\n', 'line 3: expected the columns'),
        (GOOD + 'val,c0,c0/0.jpg\n', "line 3: 'c0/0.jpg' is there a second time, for 'val' after 'train'"),
        (GOOD + 'train,c0,0.jpg\n', 'line 3: .* is there a second time'),
        (GOOD + 'train,c0,missing.jpg\n', 'line 3: there is no file .*missing.jpg'),
        (GOOD + 'train,nowhere,1.jpg\n', 'line 3: there is no file .*nowhere'),
        (GOOD + 'train,c0,notes.txt\n', 'line 3: .*notes.txt is no image for timm.*.png'),
        (GOOD + 'train,c0,.hidden.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,c0,\n', 'line 3: expected plain names'),
        (GOOD + 'train,,0.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,c0,../c1/1.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,c0,c1/1.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,..,1.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,.,1.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,../src/c0,1.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,c0,/etc/1.jpg\n', 'line 3: expected plain names'),
        (GOOD + 'train,/etc,1.jpg\n', 'line 3: expected plain names'),
        (GOOD + '../../out,c0,1.jpg\n', 'line 3: expected plain names.*split'),
        (GOOD + '..,c0,1.jpg\n', 'line 3: expected plain names.*split'),
        (GOOD + 'a\\b,c0,1.jpg\n', 'line 3: expected plain names.*split'),
        (GOOD + '/tmp,c0,1.jpg\n', 'line 3: expected plain names.*split'),
        (GOOD + ',c0,1.jpg\n', 'line 3: expected plain names.*split'),
        (GOOD + '.git,c0,1.jpg\n', 'line 3: expected plain names.*split'),
        (GOOD + 'manifest.csv,c0,1.jpg\n', 'line 3: expected plain names.*split'),
        (GOOD + 'train,c0,1\0.jpg\n', 'line 3: '),
        (GOOD + '"train,c0,1.jpg\n', 'line 3: .*expected CSV'),
        (GOOD + 'train,c0,"1"x.jpg\n', 'line 3: .*expected CSV'),
        (GOOD + 'train,c0,' + 'x' * 200_000, 'line 3: .*expected CSV'),
        (GOOD + 'train,c0,caf\udce9.jpg\n', 'no text in UTF-8'),
    ],
)
def test_hostile_manifests(source, dst, tmp_path, text, message):
    (tmp_path / 'list.csv').write_bytes(text.encode(errors='surrogateescape'))
    with pytest.raises(UserError, match=f'^[^\n]*list.csv[^\n]*{message}[^\n]*$'):
        make_subset(source, dst, lists=tmp_path / 'list.csv')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['list.csv', 'src']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (GOOD, 'line 1: expected the columns class,file, got .*--list FILE'),
        ('class,file\n', 'has no rows'),
        ('c0/0.jpg\nc0\n', 'line 2: expected the columns class,file'),
        ('c0/0.jpg\nc0/0.jpg\n', 'line 2: .* second time'),
        ('c0/../c1/0.jpg\n', 'line 1: expected plain names'),
        ('/c0/0.jpg\n', 'line 1: expected plain names'),
        ('../0.jpg\n', 'line 1: expected plain names'),
    ],
)
def test_hostile_lists_of_one_split(source, dst, tmp_path, text, message):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, lists={'train': tmp_path / 'list.txt'})
    assert not dst.exists()


@pytest.mark.parametrize('split', ['', '.x', 'a/b', 'a\\b', '..', 'Manifest.csv', 'x\0', '\udcff'])
def test_bad_names_of_splits(source, dst, tmp_path, split):
    (tmp_path / 'list.txt').write_text('c0/0.jpg\n')
    for which in (dict(splits={split: 1}), dict(lists={split: tmp_path / 'list.txt'})):
        with pytest.raises(UserError, match='expected plain names'):
            make_subset(source, dst, **which)
    assert not dst.exists()


def test_one_image_in_two_lists(source, dst, tmp_path):
    (tmp_path / 'list').write_text('c0/0.jpg\n')
    with pytest.raises(UserError, match=r"line 1: .* for 'val' after 'train'"):
        make_subset(source, dst, lists={'train': tmp_path / 'list', 'val': tmp_path / 'list'})
    assert not dst.exists()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


@pytest.mark.parametrize(
    ('name', 'protocol'),
    [('train.pickle', 4), ('train.PKL', 0), ('train.p', 2), ('train.csv', 2), ('train', pickle.HIGHEST_PROTOCOL)],
)
def test_pickles_are_refused_and_not_loaded(source, dst, tmp_path, name, protocol):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(str(tmp_path / 'went off')), protocol))
    for lists in (tmp_path / name, {'train': tmp_path / name}):
        with pytest.raises(UserError, match=r'is a pickle.* can run code .*CSV with the columns (split,)?class,file'):
            make_subset(source, dst, lists=lists)
    assert not (tmp_path / 'went off').exists() and not dst.exists()
    pickle.loads((tmp_path / name).read_bytes()).close()
    assert (tmp_path / 'went off').exists()  # it would have


def test_a_list_that_is_not_there(source, dst, tmp_path):
    with pytest.raises(UserError, match=r'the list .*nowhere.csv does not exist'):
        make_subset(source, dst, lists=tmp_path / 'nowhere.csv')


# going on


def stop_after(monkeypatch, number: int, error: BaseException, half: bool = False) -> None:
    """Have the links and copies fail after a few, and half a copy be written."""
    for module, name in ((os, 'symlink'), (shutil, 'copy2')):
        real, done = getattr(module, name), []

        def stop(image, entry, real=real, done=done, **kwargs):
            done.append(entry)
            if len(done) <= number:
                return real(image, entry, **kwargs)
            if half:
                Path(entry).write_bytes(b'c')
            raise error

        monkeypatch.setattr(module, name, stop)


@pytest.mark.parametrize('copy', [False, True])
@pytest.mark.parametrize('number', [0, 1, 7, 19])
def test_going_on_after_an_interrupt(source, dst, tmp_path, copy, number):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, number, KeyboardInterrupt(), half=copy)
        with pytest.raises(KeyboardInterrupt):
            make_subset(source, dst, SPLITS, copy=copy)
    assert len(list(dst.rglob('*.jpg'))) == number
    assert (dst / '.manifest.partial').exists() and not (dst / 'manifest.csv').exists()
    assert not (copy and list(dst.rglob('.copy.partial')))
    before = {p: p.lstat().st_mtime_ns for p in dst.rglob('*.jpg')}
    assert make_subset(source, dst, SPLITS, copy=copy) == {'train': 12, 'val': 8}
    assert {p: p.lstat().st_mtime_ns for p in before} == before
    make_subset(source, tmp_path / 'whole', SPLITS, copy=copy)
    assert tree(dst) == tree(tmp_path / 'whole')


@pytest.mark.parametrize('written', [0, 10, 30])
def test_going_on_after_a_stop_within_the_manifest(source, dst, tmp_path, written):
    make_subset(source, tmp_path / 'whole', SPLITS)
    dst.mkdir()
    (dst / '.manifest.partial').write_bytes((tmp_path / 'whole' / 'manifest.csv').read_bytes()[:written])
    make_subset(source, dst, SPLITS)
    assert tree(dst) == tree(tmp_path / 'whole')


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')  # Python 3.12 on, about torch's threads
def test_going_on_after_a_kill_within_a_copy(source, dst, tmp_path, monkeypatch):
    def killed():
        real, done = shutil.copy2, []

        def copy2(image, entry):
            if len(done) == 7:
                Path(entry).write_text('c')
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(real(image, entry))

        shutil.copy2 = copy2
        make_subset(source, dst, SPLITS, copy=True)

    (tmp_path / 'tmp').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))  # the plan stays behind there
    process = multiprocessing.get_context('fork').Process(target=killed)  # a new interpreter would import torch again
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(dst.rglob('*.jpg'))) == 7
    assert len(list(dst.rglob('.copy.partial'))) == 1
    make_subset(source, dst, SPLITS, copy=True)
    make_subset(source, tmp_path / 'whole', SPLITS, copy=True)
    assert tree(dst) == tree(tmp_path / 'whole')


@pytest.mark.parametrize('copy', [False, True])
def test_again_changes_nothing(source, dst, copy):
    make_subset(source, dst, SPLITS, copy=copy)
    before = {p: (p.lstat().st_mtime_ns, p.lstat().st_ino) for p in [dst, *dst.rglob('*')]}
    assert make_subset(source, dst, SPLITS, copy=copy) == {'train': 12, 'val': 8}
    assert make_subset(source, dst, lists=dst / 'manifest.csv', copy=copy) == {'train': 12, 'val': 8}
    assert {p: (p.lstat().st_mtime_ns, p.lstat().st_ino) for p in [dst, *dst.rglob('*')]} == before


@pytest.mark.parametrize('copy', [False, True])
def test_a_full_disk(source, dst, tmp_path, monkeypatch, copy, capsys):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 5, OSError(errno.ENOSPC, 'No space left on device', 'some/image.jpg'), half=copy)
        assert main(['subset', str(source), str(dst), '--per-class', '2', *(['--copy'] if copy else [])]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors subset: error: ') and err.count('\n') == 1
    assert "No space left on device: 'some/image.jpg'" in err and 'the same command goes on' in err
    assert len(list(dst.rglob('*.jpg'))) == 5 and not list(dst.rglob('.copy.partial'))
    assert main(['subset', str(source), str(dst), '--per-class', '2', *(['--copy'] if copy else [])]) == 0
    assert len(list(dst.rglob('*.jpg'))) == 16


def test_a_full_disk_under_the_manifest_is_named(source, dst, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(shutil, 'copyfileobj', full)
    with pytest.raises(OSError, match=r"No space left on device: '.*dst/\.manifest\.partial'"):
        make_subset(source, dst, SPLITS)


def test_no_permission(source, dst, monkeypatch, capsys):
    real = os.scandir

    def scandir(path):
        if str(path).endswith('c1'):
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return real(path)

    monkeypatch.setattr(os, 'scandir', scandir)
    assert main(['subset', str(source), str(dst), '--per-class', '2']) == 2
    assert f"Permission denied: '{source}/c1'" in capsys.readouterr().err
    monkeypatch.undo()
    assert not dst.exists()


def test_a_file_system_without_links(source, dst, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 0, PermissionError(errno.EPERM, 'Operation not permitted'))
        with pytest.raises(UserError, match=r'no symbolic links .*use --copy'):
            make_subset(source, dst, SPLITS)
    make_subset(source, dst, SPLITS, copy=True)  # it was right to say that


def test_another_run_at_the_same_time(source, dst):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            make_subset(source, dst, SPLITS)
    before = tree(dst)
    with open(dst / '.manifest.partial') as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # the weaker one: whoever writes must be alone
        with pytest.raises(UserError, match=r'another process is making .*dst'):
            make_subset(source, dst, SPLITS)
    assert tree(dst) == before
    make_subset(source, dst, SPLITS)


def test_file_systems_without_locks(source, dst, monkeypatch):
    def flock(*args):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', flock)
    assert make_subset(source, dst, SPLITS) == {'train': 12, 'val': 8}
    monkeypatch.setattr(subset_tree, 'fcntl', None)
    assert make_subset(source, dst.with_name('without'), SPLITS) == {'train': 12, 'val': 8}


# a target that is somebody else's


def stopped(source, dst, copy=False):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 7, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            make_subset(source, dst, SPLITS, copy=copy)


def finished(source, dst, copy=False):
    make_subset(source, dst, SPLITS, copy=copy)


def swap_for_link(path: Path) -> None:
    """The folder moves out, and a link to it takes its place."""
    away = path.parent.parent.with_name('away')
    shutil.move(path, away)
    path.symlink_to(away)


def first(dst: Path) -> Path:
    return sorted(dst.rglob('*.jpg'))[0]


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize('begin', [stopped, finished])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda dst: (dst / 'mine').write_text('x'), 'mine does not belong to the subset'),
        (lambda dst: (dst / 'mine').mkdir(), 'mine does not belong to the subset'),
        (lambda dst: (dst / 'train' / 'mine').mkdir(), 'train/mine does not belong'),
        (lambda dst: (dst / 'train' / 'c0' / 'mine.jpg').write_text('x'), 'c0/mine.jpg does not belong'),
        (lambda dst: (dst / 'train' / 'c0' / 'mine').mkdir(), 'c0/mine does not belong'),
        (lambda dst: swap_for_link(dst / 'train'), 'dst/train does not belong'),
        (lambda dst: swap_for_link(dst / 'train' / 'c0'), 'dst/train/c0 does not belong'),
        (lambda dst: relink(first(dst), '/nowhere'), 'exists and is not a link to'),
    ],
)
def test_other_content_in_a_subset(source, dst, begin, change, message):
    begin(source, dst)
    change(dst)
    before = tree(dst)
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, SPLITS)
    assert tree(dst) == before


@pytest.mark.parametrize('begin', [stopped, finished])
@pytest.mark.parametrize(
    'other', [dict(seed=1), dict(splits={'train': 3, 'val': 3}), dict(splits={'val': 2, 'train': 3})]
)
def test_another_manifest(source, dst, begin, other):
    begin(source, dst)
    before = tree(dst)
    with pytest.raises(UserError, match='is that of another subset'):
        make_subset(source, dst, **{'splits': SPLITS, **other})
    assert tree(dst) == before


@pytest.mark.parametrize('begin', [stopped, finished])
@pytest.mark.parametrize('copy', [False, True])
def test_links_and_copies_do_not_mix(source, dst, begin, copy):
    begin(source, dst, copy=copy)
    before = tree(dst)
    with pytest.raises(UserError, match=f'is not a {"link to" if copy else "copy of"} .*do not mix'):
        make_subset(source, dst, SPLITS, copy=not copy)
    assert tree(dst) == before


def test_a_copy_of_another_size(source, dst):
    make_subset(source, dst, SPLITS, copy=True)
    first(dst).write_bytes(b'short')
    before = tree(dst)
    with pytest.raises(UserError, match='is not a copy of'):
        make_subset(source, dst, SPLITS, copy=True)
    assert tree(dst) == before


def test_a_link_that_looks_like_a_copy(source, dst):
    make_subset(source, dst, SPLITS, copy=True)
    entry = first(dst)
    relink(entry, 'x' * entry.stat().st_size)  # a link's size is the length of its target
    with pytest.raises(UserError, match='is not a copy of'):
        make_subset(source, dst, SPLITS, copy=True)


def test_a_cut_manifest_with_images(source, dst):
    stopped(source, dst)
    os.truncate(dst / '.manifest.partial', 20)
    before = tree(dst)
    with pytest.raises(UserError, match='is that of another subset'):
        make_subset(source, dst, SPLITS)
    assert tree(dst) == before


@pytest.mark.parametrize('copy', [False, True])
def test_what_is_left_of_a_copy_goes_away(source, dst, tmp_path, copy):
    make_subset(source, tmp_path / 'whole', SPLITS, copy=copy)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 0, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            make_subset(source, dst, SPLITS, copy=True)
    (tmp_path / 'mine').write_text('precious')
    (dst / 'train' / 'c0' / '.copy.partial').symlink_to(tmp_path / 'mine')  # nor is it written through
    make_subset(source, dst, SPLITS, copy=copy)
    assert tree(dst) == tree(tmp_path / 'whole')
    assert (tmp_path / 'mine').read_text() == 'precious'


def test_an_image_that_is_gone_from_a_finished_subset(source, dst):
    make_subset(source, dst, SPLITS)
    gone = first(dst)
    gone.unlink()
    before = tree(dst)
    with pytest.raises(UserError, match=f'{gone} is missing'):
        make_subset(source, dst, SPLITS)
    assert tree(dst) == before


@pytest.mark.parametrize('name', ['manifest.csv', '.manifest.partial'])
@pytest.mark.parametrize('how', ['other', 'link', 'folder'])
def test_a_manifest_that_is_not_ours(source, dst, tmp_path, name, how):
    make_subset(source, tmp_path / 'whole', SPLITS)
    dst.mkdir()
    if how == 'other':
        (dst / name).write_text('split,class,file\nmine')
    elif how == 'link':
        (dst / name).symlink_to(tmp_path / 'whole' / 'manifest.csv')
    else:
        (dst / name).mkdir()
    before = tree(tmp_path)
    with pytest.raises(UserError, match='is that of another subset'):
        make_subset(source, dst, SPLITS)
    assert tree(tmp_path) == before


def test_both_manifests(source, dst):
    make_subset(source, dst, SPLITS)
    shutil.copy(dst / 'manifest.csv', dst / '.manifest.partial')
    with pytest.raises(UserError, match=r'\.manifest\.partial does not belong'):
        make_subset(source, dst, SPLITS)


@pytest.mark.parametrize('number', [1, 1000])
def test_folders_that_are_not_empty(source, dst, number):
    dst.mkdir()
    (dst / 'mine').write_text('precious')
    with pytest.raises(UserError, match='exists and is not empty'):  # and not after a search for 1,000 images
        make_subset(source, dst, {'train': number})
    assert tree(dst) == {'mine': ('file', b'precious')}


def test_a_target_that_is_a_file(source, dst):
    dst.write_text('precious')
    with pytest.raises(UserError, match='is not a folder'):
        make_subset(source, dst, SPLITS)
    assert dst.read_text() == 'precious'


def test_empty_and_nested_targets(source, tmp_path):
    (tmp_path / 'empty').mkdir()
    make_subset(source, tmp_path / 'empty', SPLITS)
    make_subset(source, tmp_path / 'a' / 'b', SPLITS)
    assert tree(tmp_path / 'empty') == tree(tmp_path / 'a' / 'b')


@pytest.mark.parametrize('where', ['src', 'src/new', 'src/c0/new', 'src/../src', 'way/new', '.', 'way2/new', 'new'])
def test_the_target_is_not_in_the_source(source, tmp_path, where):
    (tmp_path / 'way').symlink_to('src')
    (tmp_path / 'far').mkdir()
    (tmp_path / 'way2').symlink_to('far')
    src = source
    if where == 'way2/new':  # a class folder that is a link to where the target is to be
        src = write_images(tmp_path / 'linked', {'c1': ['0.jpg', '1.jpg']})
        (src / 'c0').symlink_to(tmp_path / 'far')
    elif where == 'new':
        (tmp_path / 'new').mkdir()
        src = source.rename(tmp_path / 'new' / 'src')
    before = tree(tmp_path)
    try:
        with pytest.raises(UserError, match='must not lie one in the other'):
            make_subset(src, tmp_path / where, {'train': 1, 'val': 1})
        assert tree(tmp_path) == before
    finally:
        if where == 'new':
            src.rename(source)


# a source that is no image folder


@pytest.mark.parametrize('name', ['nowhere', 'file', ''])
def test_no_source(tmp_path, dst, name):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match='expected a folder with a folder for each class'):
        make_subset(tmp_path / name if name else '', dst, SPLITS)
    assert not dst.exists()


def test_no_classes(tmp_path, dst):
    (tmp_path / 'src' / '.hidden').mkdir(parents=True)
    (tmp_path / 'src' / '0.jpg').write_text('x')
    with pytest.raises(UserError, match='no class folders: expected its images as SRC/CLASS/FILE'):
        make_subset(tmp_path / 'src', dst, SPLITS)
    assert not dst.exists()


def test_folders_in_class_folders(tmp_path, dst):
    src = write_images(tmp_path / 'src', {'c0': ['0.jpg'], 'c1/deep': ['0.jpg']})
    with pytest.raises(UserError, match='c1/deep is a folder in a class folder: expected SRC/CLASS/FILE'):
        make_subset(src, dst, {'train': 1})
    assert not dst.exists()


@pytest.mark.parametrize(
    ('names', 'right'), [(['train', 'validation'], 'train'), (['Training', 'eval', 'test'], 'Training')]
)
def test_a_source_of_splits(tmp_path, dst, names, right):
    src = write_images(tmp_path / 'src', {f'{name}/c0': ['0.jpg', '1.jpg'] for name in names})
    (tmp_path / 'list.txt').write_text('c0/0.jpg\n')
    for which in (dict(splits={'a': 1}), dict(lists={'train': tmp_path / 'list.txt'})):
        with pytest.raises(UserError, match=f'name the split: {src}/{right}$'):
            make_subset(src, dst, **which)
    make_subset(src / right, dst, {'a': 1})


def test_classes_may_be_called_like_splits(tmp_path, dst):
    src = write_images(tmp_path / 'src', {'train': ['0.jpg'], 'test': ['0.jpg']})
    assert make_subset(src, dst, {'train': 1}) == {'train': 2}


def test_too_few_images(tmp_path, dst):
    few = {f'few{i}': [f'{j}.jpg' for j in range(i)] for i in range(8)}
    src = write_images(tmp_path / 'src', {'enough': [f'{i}.jpg' for i in range(9)], **few})
    with pytest.raises(UserError) as e:
        make_subset(src, dst, {'train': 6, 'val': 2})
    for words in (
        f'8 of 9 classes in {src} have fewer than the 8 images needed (6 for train + 2 for val)',
        "'few0' has 0, 'few1' has 1, 'few2' has 2, 'few3' has 3, 'few4' has 4 and 3 more",
        'Use smaller numbers (--per-class, --splits)',
        '.jpeg, .jpg, .png',
    ):
        assert words in str(e.value)
    assert not dst.exists()


@pytest.mark.parametrize('what', ['file', 'class'])
def test_names_that_are_not_utf8(tmp_path, dst, what):
    src = write_images(tmp_path / 'src', {'c0': ['0.jpg']})
    if what == 'class':
        (src / '\udce9').mkdir()
    else:
        (src / 'c0' / '\udce9.jpg').write_text('x')
    with pytest.raises(UserError, match=r'\\udce9.* not in UTF-8'):
        make_subset(src, dst, {'train': 1})
    assert not dst.exists()


def test_links_that_lead_nowhere(tmp_path, dst):
    src = write_images(tmp_path / 'src', {'c0': ['0.jpg']})
    (src / 'c0' / '1.jpg').symlink_to('nowhere')
    with pytest.raises(UserError, match=r'1\.jpg is a link that leads nowhere'):
        make_subset(src, dst, {'train': 1})
    assert not dst.exists()


# the arguments


@pytest.mark.parametrize('number', [0, -1, 1.5, True, '3'])
def test_bad_numbers(source, dst, number):
    with pytest.raises(UserError, match="split 'val' must be at least 1"):
        make_subset(source, dst, {'train': 1, 'val': number})
    assert not dst.exists()


@pytest.mark.parametrize('which', [{}, dict(splits={}), dict(lists={}), dict(splits=SPLITS, lists='x.csv')])
def test_numbers_or_lists(source, dst, which):
    with pytest.raises(UserError, match='say which images'):
        make_subset(source, dst, **which)


@pytest.mark.parametrize(
    ('text', 'per_class', 'splits'),
    [
        (None, 5, {'train': 5, 'val': 5}),
        ('train=1,val=2', None, {'train': 1, 'val': 2}),
        ('b, a = 07,c', 3, {'b': 3, 'a': 7, 'c': 3}),
    ],
)
def test_parse_splits(text, per_class, splits):
    assert list(parse_splits(text, per_class).items()) == list(splits.items())


@pytest.mark.parametrize(
    ('text', 'per_class', 'message'),
    [
        (None, 0, 'at least 1'),
        ('train', None, 'no number for .*--per-class'),
        ('train=1,train=2', None, 'twice'),
        ('train=', None, 'whole numbers'),
        ('train=x', None, 'whole numbers'),
        ('train=-1', None, 'whole numbers'),
        ('train=1.5', None, 'whole numbers'),
        ('train=1=2', None, 'whole numbers'),
        ('train=\u0665', None, 'whole numbers'),
        ('train=' + '9' * 5000, None, 'whole numbers'),
    ],
)
def test_parse_splits_refuses(text, per_class, message):
    with pytest.raises(UserError, match=message):
        parse_splits(text, per_class)


def test_parse_lists(tmp_path):
    assert parse_lists(['a.csv']) == 'a.csv'
    assert parse_lists(['a=b']) == {'a': 'b'}
    assert parse_lists(['a=b', 'c=d=e']) == {'a': 'b', 'c': 'd=e'}
    (tmp_path / 'a=b').write_text('x')
    assert parse_lists([f'{tmp_path}/a=b']) == f'{tmp_path}/a=b'
    for values, message in ((['a', 'b'], 'any number of SPLIT=FILE'), (['a=b', 'a=c'], 'twice')):
        with pytest.raises(UserError, match=message):
            parse_lists(values)


# the command


def test_command(source, dst, tmp_path, capsys):
    assert (
        main(['subset', str(source), str(dst), '--per-class', '2', '--splits', 'train=3,val,test', '--seed', '4']) == 0
    )
    done = f'4 classes, 12 images in train, 8 in val, 8 in test; {dst}/manifest.csv makes it again (--list)\n'
    assert capsys.readouterr().out == f'{dst}: {done}'
    assert main(['subset', str(source), str(dst), '--list', f'{dst}/manifest.csv', '--link']) == 0
    assert capsys.readouterr().out == f'{dst}: is there already, {done}'
    make_subset(source, tmp_path / 'api', {'train': 3, 'val': 2, 'test': 2}, seed=4)
    assert tree(dst) == tree(tmp_path / 'api')
    (tmp_path / 'a').write_text('c0/0.jpg\n')
    (tmp_path / 'b').write_text('c0/1.jpg\n')
    lists = ['--list', f'x={tmp_path}/a', '--list', f'y={tmp_path}/b']
    assert main(['subset', str(source), f'{dst}2', *lists, '--copy']) == 0
    assert rows(dst.with_name('dst2')) == [('x', 'c0', '0.jpg'), ('y', 'c0', '1.jpg')]
    assert {kind for kind, *_ in tree(dst.with_name('dst2')).values()} == {'folder', 'file'}


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ('', 'say which images'),
        ('--per-class 0', 'at least 1'),
        ('--per-class 5', 'fewer than the 10 images needed'),
        ('--splits train', 'no number'),
        ('--splits a/b=1', 'plain names'),
        ('--splits ,', 'no number'),
        ('--list x --per-class 1', 'leave --per-class, --splits and --seed out'),
        ('--list x --splits a=1', 'leave --per-class, --splits and --seed out'),
        ('--list x --seed 0', 'leave --per-class, --splits and --seed out'),
        ('--list x', 'the list x does not exist'),
        ('--list a=x --list b', 'SPLIT=FILE'),
    ],
)
def test_command_refuses(source, dst, flags, message, capsys):
    assert main(['subset', str(source), str(dst), *flags.split()]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors subset: error: ') and err.count('\n') == 1
    assert message in err
    assert not dst.exists()


def test_messages_have_one_line_whatever_the_names(tmp_path, dst, capsys):
    src = write_images(tmp_path / 'new\nline', {'c\n0/d\ne': ['0.jpg']})
    assert main(['subset', str(src), str(dst), '--per-class', '1']) == 2
    assert capsys.readouterr().err.count('\n') == 1


@pytest.mark.parametrize('flags', [['--per-class', 'x'], ['--seed', 'x'], ['--copy', '--link']])
def test_command_line_mistakes(source, dst, flags, capsys):
    with pytest.raises(SystemExit) as e:
        main(['subset', str(source), str(dst), *flags])
    assert e.value.code == 2
    assert 'timm-vipriors subset: error: ' in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit):
        main(['subset', '--help'])
    out = capsys.readouterr().out
    for word in ('--per-class', '--splits', '--seed', '--list', '--copy', '--link', 'manifest.csv', 'examples:'):
        assert word in out
    with pytest.raises(SystemExit):
        main(['--help'])
    assert 'timm-vipriors subset ' in capsys.readouterr().out
