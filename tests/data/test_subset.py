import csv
import errno
import fcntl
import multiprocessing
import os
import pickle
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image
from timm.data import create_dataset

from timm_vipriors import files as package_files
from timm_vipriors.cli import main
from timm_vipriors.commands.subset import parse_lists, parse_splits
from timm_vipriors.data import StrictImageDataset
from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError

CLASSES = ['c0', 'c1', 'c10', 'c2']
SPLITS = {'train': 3, 'val': 2}
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


def write_images(root: Path, names: dict[str, list[str]]) -> Path:
    """Files that are no images, which nothing here opens: each has its own content and length."""
    for label, files in names.items():
        (root / label).mkdir(parents=True)
        for i, file in enumerate(files):
            (root / label / file).write_bytes(os.fsencode(f'{label}/{file}') + b'.' * i)
    return root


def tree(root: Path) -> dict[str, tuple]:
    """All that lies in a folder, and what it is."""
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
def source(tmp_path):
    """Four classes of eight images, with things that are none; it is the same after each test."""
    src = write_images(tmp_path / 'src', {label: [f'{i}.jpg' for i in range(8)] for label in CLASSES})
    for name in ('.hidden.jpg', 'notes.txt', 'jpg'):
        (src / 'c0' / name).write_text('x')
    write_images(src, {'c0/.thumbnails': ['0.jpg'], '.trash': ['0.jpg']})
    (src / 'readme.jpg').write_text('x')
    before = tree(src)
    yield src
    assert tree(src) == before


@pytest.fixture
def dst(tmp_path) -> Path:
    return tmp_path / 'dst'


@pytest.fixture
def partial(tmp_path) -> Path:
    return tmp_path / 'dst.partial'


# the choice


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


# lists


def test_a_manifest_makes_the_same_again(source, dst, tmp_path):
    make_subset(source, dst, {'val': 2, 'train': 3}, seed=5)
    names = [f'{i}.jpg' for i in range(9)]  # written in another order, and with more in it
    other = write_images(tmp_path / 'other', dict.fromkeys(['new', *CLASSES[::-1]], names[::-1]))
    for src, root in ((source, 'a'), (other, 'b')):
        assert make_subset(src, tmp_path / root, lists=dst / 'manifest.csv') == {'val': 8, 'train': 12}
        assert tree(tmp_path / root).keys() == tree(dst).keys()
        assert (tmp_path / root / 'manifest.csv').read_bytes() == (dst / 'manifest.csv').read_bytes()
    assert tree(tmp_path / 'a') == tree(dst)


def test_a_list_in_any_order_gives_one_manifest(source, dst, tmp_path):
    text = 'split,class,file\r\nval,c2,5.jpg\r\n\r\ntrain,c0,c0/3.jpg\r\nval,c0,"1.jpg"\r\ntrain,c0,2.jpg\r\n'
    (tmp_path / 'list.csv').write_bytes(b'\xef\xbb\xbf' + text.encode())
    assert make_subset(source, dst, lists=tmp_path / 'list.csv') == {'train': 2, 'val': 2}
    assert rows(dst) == [
        ('train', 'c0', '3.jpg'),
        ('train', 'c0', '2.jpg'),
        ('val', 'c0', '1.jpg'),
        ('val', 'c2', '5.jpg'),
    ]


@pytest.mark.parametrize(
    'text', ['class,file\nc1,7.jpg\nc0,2.jpg\n', 'c1,7.jpg\nc0,c0/2.jpg', 'c1/7.jpg\n\nc0/2.jpg\n']
)
def test_lists_of_one_split(source, dst, tmp_path, text):
    (tmp_path / 'a').write_text(text)
    (tmp_path / 'b').write_text('c0/0.jpg\n')
    assert make_subset(source, dst, lists={'train': tmp_path / 'a', 'val': tmp_path / 'b'}) == {'train': 2, 'val': 1}
    assert rows(dst) == [('train', 'c0', '2.jpg'), ('val', 'c0', '0.jpg'), ('train', 'c1', '7.jpg')]


GOOD = 'split,class,file\ntrain,c0,0.jpg\n'
BAD_ROWS = [  # in a manifest, after a good one
    ('c0,1.jpg', "got 'c0,1.jpg' .*expected CSV in UTF-8 with split,class,file; a list of one split .* SPLIT=FILE"),
    ('train,c0,1.jpg,', 'expected CSV'),
    ('val,c0,c0/0.jpg', "'c0/0.jpg' is listed twice, for 'val' after 'train'"),
    ('train,c0,0.jpg', 'is listed twice'),
    ('train,c0,missing.jpg', 'there is no file .*missing.jpg'),
    ('train,nowhere,1.jpg', 'there is no file .*nowhere'),
    ('train,c0,notes.txt', 'notes.txt is not an image by its ending'),
    ('"train,c0,1.jpg', 'expected CSV'),
    ('train,c0,"1"x.jpg', 'expected CSV'),
    ('train,c0,' + 'x' * 200_000, 'expected CSV'),
    ('train,c0,caf\udce9.jpg', 'expected CSV in UTF-8'),
    ('train,c0,1\0.jpg', ''),
    *((f'train,c0,{file}', 'plain names') for file in ('.hidden.jpg', '', '../c1/1.jpg', 'c1/1.jpg', '/etc/1.jpg')),
    *((f'train,{name},1.jpg', 'plain names') for name in ('', '..', '.', '../src/c0', '/etc', '.thumbnails')),
    *(
        (f'{split},c0,1.jpg', 'plain names')
        for split in ('../../out', '..', 'a\\b', '/tmp', '', '.git', 'Manifest.csv')
    ),
]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'has no rows'),
        ('split,class,file\n', 'has no rows'),
        ('class,file\nc0,0.jpg\n', 'line 1: got the header .*SPLIT=FILE'),
        ('train,c0,0.jpg\n', 'line 1: got the header'),
        *((f'{GOOD}{row}\n', f'(line 3: )?.*{message}') for row, message in BAD_ROWS),
    ],
)
def test_bad_manifests(source, tmp_path, text, message):
    (tmp_path / 'list.csv').write_bytes(text.encode(errors='surrogateescape'))
    with pytest.raises(UserError, match=f'^[^\n]*list.csv[^\n]*{message}[^\n]*$'):
        make_subset(source, tmp_path / 'dst', lists=tmp_path / 'list.csv')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['list.csv', 'src']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (GOOD, 'line 1: .*expected CSV in UTF-8 with class,file; a manifest is given without SPLIT='),
        ('class,file\n', 'has no rows'),
        ('c0/0.jpg\nc0\n', "line 2: got 'train,c0'"),
        ('c0/0.jpg\nc0/0.jpg\n', 'line 2: .* listed twice'),
        ('c0/../c1/0.jpg\n', 'line 1: expected plain names'),
        ('/c0/0.jpg\n', 'line 1: expected plain names'),
        ('../0.jpg\n', 'line 1: expected plain names'),
    ],
)
def test_bad_lists_of_one_split(source, dst, tmp_path, text, message):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, lists={'train': tmp_path / 'list.txt'})
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


@pytest.mark.parametrize('protocol', [0, 2, pickle.HIGHEST_PROTOCOL])
def test_pickles_are_refused_and_not_loaded(source, dst, tmp_path, protocol):
    (tmp_path / 'train.pickle').write_bytes(pickle.dumps(Bomb(str(tmp_path / 'went off')), protocol))
    for lists in (tmp_path / 'train.pickle', {'train': tmp_path / 'train.pickle'}):
        with pytest.raises(UserError, match=r'train.pickle, line .*expected CSV in UTF-8 with (split,)?class,file'):
            make_subset(source, dst, lists=lists)
    assert not (tmp_path / 'went off').exists() and not dst.exists()


# interruptions


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


def interrupt(source, dst, copy=False, number=7):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, number, KeyboardInterrupt(), half=copy)
        with pytest.raises(KeyboardInterrupt):
            make_subset(source, dst, SPLITS, copy=copy)


@pytest.mark.parametrize('copy', [False, True])
@pytest.mark.parametrize('number', [0, 1, 7, 19])
def test_resuming_after_an_interrupt(source, dst, partial, tmp_path, copy, number):
    interrupt(source, dst, copy, number)
    assert not dst.exists()
    assert len(list(partial.rglob('*.jpg'))) == number
    before = {p.relative_to(partial): p.lstat().st_mtime_ns for p in partial.rglob('*.jpg')}
    assert make_subset(source, dst, SPLITS, copy=copy) == {'train': 12, 'val': 8}
    assert {p: (dst / p).lstat().st_mtime_ns for p in before} == before
    make_subset(source, tmp_path / 'whole', SPLITS, copy=copy)
    assert tree(dst) == tree(tmp_path / 'whole')
    assert not partial.exists()


@pytest.mark.parametrize('written', [None, 0, 10, 30])
def test_resuming_after_a_stop_within_the_manifest(source, dst, partial, tmp_path, written):
    make_subset(source, tmp_path / 'whole', SPLITS)
    partial.mkdir()
    if written is not None:
        (partial / 'manifest.csv').write_bytes((tmp_path / 'whole' / 'manifest.csv').read_bytes()[:written])
    make_subset(source, dst, SPLITS)
    assert tree(dst) == tree(tmp_path / 'whole')


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')  # Python 3.12 on, about torch's threads
def test_resuming_after_a_kill_within_a_copy(source, dst, partial, tmp_path):
    def killed():
        real, done = shutil.copy2, []

        def copy2(image, entry):
            if len(done) == 7:
                Path(entry).write_text('c')
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(real(image, entry))

        shutil.copy2 = copy2
        make_subset(source, dst, SPLITS, copy=True)

    process = multiprocessing.get_context('fork').Process(target=killed)  # a new interpreter would import torch again
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not dst.exists()
    assert len(list(partial.rglob('*.jpg'))) == 7
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
def test_a_full_disk(source, dst, partial, copy, capsys):
    command = ['subset', str(source), str(dst), '--per-class', '2', '--copy' if copy else '--link']
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 5, OSError(errno.ENOSPC, 'No space left on device', 'some/image.jpg'), half=copy)
        assert main(command) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors subset: error: ') and err.count('\n') == 1
    assert "No space left on device: 'some/image.jpg'" in err and 'the same command resumes' in err
    assert len(list(partial.rglob('*.jpg'))) == 5 and not dst.exists()
    assert main(command) == 0
    assert len(list(dst.rglob('*.jpg'))) == 16


def test_a_file_system_without_links(source, dst):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 0, PermissionError(errno.EPERM, 'Operation not permitted'))
        with pytest.raises(UserError, match=r'no symbolic links, use --copy'):
            make_subset(source, dst, SPLITS)
    make_subset(source, dst, SPLITS, copy=True)


def test_two_processes_at_once(source, dst, partial, monkeypatch):
    interrupt(source, dst)
    before = tree(partial)
    with open(partial / 'manifest.csv') as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # the weaker one: the process that writes must be alone
        with pytest.raises(UserError, match=r'another process is writing .*dst'):
            make_subset(source, dst, SPLITS)
    assert tree(partial) == before
    make_subset(source, dst, SPLITS)
    for number, locks in enumerate((None, fcntl)):  # none on Windows, and on some file systems

        def flock(*args):
            raise OSError(errno.ENOLCK, 'No locks available')

        monkeypatch.setattr(fcntl, 'flock', flock)
        monkeypatch.setattr(package_files, 'fcntl', locks)
        make_subset(source, dst.with_name(f'without{number}'), SPLITS)


# folders of others


def finish(source, dst, copy=False):
    make_subset(source, dst, SPLITS, copy=copy)


def swap_for_link(root: Path, name: str) -> None:
    """An entry moves out, and a link to it takes its place."""
    away = root.with_name('away')
    shutil.move(root / name, away)
    (root / name).symlink_to(away)


def first(root: Path) -> Path:
    return sorted(root.rglob('*.jpg'))[0]


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize('begin', [interrupt, finish])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda root: (root / 'mine').write_text('x'), 'mine does not belong to the subset'),
        (lambda root: (root / 'train' / 'mine').mkdir(), 'train/mine does not belong'),
        (lambda root: (root / 'train' / 'c0' / 'mine.jpg').write_text('x'), 'c0/mine.jpg does not belong'),
        (lambda root: swap_for_link(root, 'train'), '/train does not belong'),
        (lambda root: swap_for_link(root, 'train/c0'), '/train/c0 does not belong'),
        (lambda root: relink(first(root), '/nowhere'), 'exists and is not a link to'),
        (lambda root: (root / 'manifest.csv').write_text('split,class,file\nmine'), 'is that of another subset'),
        (lambda root: os.truncate(root / 'manifest.csv', 20), 'is that of another subset'),
        (lambda root: swap_for_link(root, 'manifest.csv'), 'is that of another subset'),
    ],
)
def test_other_content_in_a_subset(source, dst, partial, tmp_path, begin, change, message):
    begin(source, dst)
    change(partial if partial.exists() else dst)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, SPLITS)
    assert tree(tmp_path) == before


@pytest.mark.parametrize('begin', [interrupt, finish])
@pytest.mark.parametrize(
    ('other', 'message'),
    [
        (dict(seed=1), 'is that of another subset'),
        (dict(splits={'train': 3, 'val': 3}), 'is that of another subset'),
        (dict(splits={'val': 2, 'train': 3}), 'is that of another subset'),
        (dict(copy=True), 'is not a copy of .*do not mix'),
    ],
)
def test_another_subset(source, dst, tmp_path, begin, other, message):
    begin(source, dst)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, **{'splits': SPLITS, **other})
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda path: path.write_bytes(b'short'), 'is not a copy of'),
        (lambda path: relink(path, 'x' * path.stat().st_size), 'is not a copy of'),  # a link of the image's size
        (lambda path: path.unlink(), 'is missing'),
    ],
)
def test_a_changed_copy(source, dst, change, message):
    make_subset(source, dst, SPLITS, copy=True)
    change(first(dst))
    before = tree(dst)
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, SPLITS, copy=True)
    assert tree(dst) == before


@pytest.mark.parametrize('where', ['dst', 'dst.partial'])
def test_a_target_that_is_not_empty(source, dst, tmp_path, where):
    folder = tmp_path / where
    folder.mkdir()
    (folder / 'mine').write_text('precious')
    with pytest.raises(UserError, match=f'{where} exists and is not empty'):  # not after a search for 1,000 images
        make_subset(source, dst, {'train': 1000})
    assert tree(folder) == {'mine': ('file', b'precious')}
    shutil.rmtree(folder)
    folder.write_text('precious')
    with pytest.raises(UserError, match=f'{where} exists and is not a folder'):
        make_subset(source, dst, SPLITS)
    assert folder.read_text() == 'precious'


def test_empty_and_nested_targets(source, tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'link').symlink_to('empty')
    for root in ('link', 'a/b'):
        make_subset(source, tmp_path / root, SPLITS)
    assert tree(tmp_path / 'empty') == tree(tmp_path / 'a' / 'b')
    assert (tmp_path / 'link').is_symlink()


@pytest.mark.parametrize('where', ['src', 'src/new', 'src/c0/new', 'src/../src', 'way/new', '.', 'far/new'])
def test_the_target_is_not_in_the_source(tmp_path, where):
    src = write_images(tmp_path / 'src', {'c0': ['0.jpg', '1.jpg']})
    (tmp_path / 'way').symlink_to('src')
    (tmp_path / 'far').mkdir()
    (src / 'c1').symlink_to(tmp_path / 'far')
    before = tree(tmp_path)
    with pytest.raises(UserError, match='must not lie one in the other'):
        make_subset(src, tmp_path / where, {'train': 1, 'val': 1})
    assert tree(tmp_path) == before


# sources and arguments


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


@pytest.mark.parametrize(
    ('splits', 'words'),
    [
        (
            {'train': 6, 'val': 2},
            [
                'have fewer than the 8 images needed (6 for train + 2 for val)',
                "'few0' has 0, 'few1' has 1, 'few2' has 2, 'few3' has 3, 'few4' has 4 and 3 more",
                'Use smaller numbers (--per-class, --splits)',
                'skipped 1 file whose endings are not those of images: .heif_ (1)',
                '8 of 9 classes',
            ],
        ),
        ({'train': 0.8, 'val': 0.2}, ['3 of 9 classes', 'one image in each split (80% for train + 20% for val)']),
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
    *(({split: 1}, 'plain names') for split in ('', '.x', 'a/b', 'a\\b', '..', 'Manifest.csv', 'x\0', 'x' * 256)),
    ({'\udcff': 1}, 'not in UTF-8'),
    ({}, 'say which images'),
]


@pytest.mark.parametrize(('splits', 'message'), BAD_SPLITS)
def test_bad_splits(source, dst, splits, message):
    with pytest.raises(UserError, match=message):
        make_subset(source, dst, splits)
    assert not dst.exists()


@pytest.mark.parametrize(
    ('text', 'per_class', 'splits'),
    [
        (None, 5, {'train': 5, 'val': 5}),
        ('train=1,val=2', None, {'train': 1, 'val': 2}),
        ('b, a = 07,c', 3, {'b': 3, 'a': 7, 'c': 3}),
        ('a=80%,b = 20%', None, {'a': 0.8, 'b': 0.2}),
    ],
)
def test_parse_splits(text, per_class, splits):
    assert list(parse_splits(text, per_class).items()) == list(splits.items())


def test_parse_splits_refuses():
    for text, per_class, message in ((None, 0, 'at least 1'), ('train', None, 'no number for .*--per-class')):
        with pytest.raises(UserError, match=message):
            parse_splits(text, per_class)
    for value in ('', 'x', '-1', '1.5', '1=2', '\u0665', '9' * 5000, '1,train=2'):
        with pytest.raises(UserError, match='whole numbers'):
            parse_splits(f'train={value}', None)


def test_parse_lists(tmp_path):
    assert parse_lists(['a.csv']) == 'a.csv'
    assert parse_lists(['a=b']) == {'a': 'b'}
    assert parse_lists(['a=b', 'c=d=e']) == {'a': 'b', 'c': 'd=e'}
    (tmp_path / 'a=b').write_text('x')
    assert parse_lists([f'{tmp_path}/a=b']) == f'{tmp_path}/a=b'
    for values in (['a', 'b'], ['a=b', 'a=c']):
        with pytest.raises(UserError, match='SPLIT=FILE once for each split'):
            parse_lists(values)


# the command


def test_command(source, dst, tmp_path, capsys):
    flags = ['--per-class', '2', '--splits', 'train=3,val,test', '--seed', '4']
    assert main(['subset', str(source), str(dst), *flags]) == 0
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
        ('--splits ,', 'no number'),
        ('--list x --per-class 1', 'leave --per-class, --splits and --seed out'),
        ('--list x --splits a=1', 'leave --per-class, --splits and --seed out'),
        ('--list x --seed 0', 'leave --per-class, --splits and --seed out'),
        ('--list x', 'the list x does not exist'),
    ],
)
def test_command_refuses(source, dst, flags, message, capsys):
    assert main(['subset', str(source), str(dst), *flags.split()]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors subset: error: ') and err.count('\n') == 1
    assert message in err
    assert not dst.exists()


def test_other_endings_are_read_and_skipped_files_are_counted(tmp_path, dst, capsys):
    src = write_images(tmp_path / 'src', {'c': ['0.webp', '1.TIF', '2.avif', '3.bmp', '4.txt', '5.txt', '.6.txt', '7']})
    assert main(['subset', str(src), str(dst), '--splits', 'train=3,val=1']) == 0
    out, err = capsys.readouterr()
    assert '3 images in train, 1 in val' in out
    assert err == f'{src}: skipped 3 files whose endings are not those of images: .txt (2), no ending (1)\n'


def test_messages_have_one_line_whatever_the_names(tmp_path, dst, capsys):
    src = write_images(tmp_path / 'new\nline', {'c\n0/d\ne': ['0.jpg']})
    assert main(['subset', str(src), str(dst), '--per-class', '1']) == 2
    assert capsys.readouterr().err.count('\n') == 1
