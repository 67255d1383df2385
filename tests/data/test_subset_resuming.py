"""Subsets after interruptions, and folders that hold something else."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from timm_vipriors import files as package_files
from timm_vipriors.cli import main
from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError

from .subset_files import SPLITS, tree, write_images


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


def test_several_at_once(source, dst, partial, monkeypatch, capsys):
    interrupt(source, dst)
    before = tree(partial)
    with open(partial / 'manifest.csv') as file, ThreadPoolExecutor() as threads:
        fcntl.flock(file, fcntl.LOCK_SH)  # the weaker one: the process that writes must be alone
        made = [threads.submit(make_subset, source, dst, SPLITS) for _ in range(3)]
        while capsys.readouterr().err.count('dst.partial: waiting for it\n') < 1:
            time.sleep(0.01)
        assert tree(partial) == before
        fcntl.flock(file, fcntl.LOCK_UN)
        assert [one.result() for one in made] == [{'train': 12, 'val': 8}] * 3
    assert tree(dst).keys() > before.keys() and not partial.exists()
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
        (lambda root: swap_for_link(root, 'manifest.csv'), 'manifest.csv does not belong'),
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
        (lambda path: os.truncate(path.parents[2] / 'manifest.csv', 20), 'is that of another subset'),
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
    with pytest.raises(UserError, match=r'must not lie one in the other|exists and is not empty'):
        make_subset(src, tmp_path / where, {'train': 1, 'val': 1})
    assert tree(tmp_path) == before
