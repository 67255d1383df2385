"""Manifests and lists of unknown origin: a subset holds files of the source alone, and writes nowhere else."""

import csv
import io
import os
from pathlib import Path

import pytest

from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError

from .cases import ACCEPTED, REFUSED, at_scale, attempt, damaged, run_cases

_ODD = [
    *('', '.', '..', '../a', '../../outside', '/etc', '/', 'a/b', 'a\\b', '.hidden', 'a\0b', 'c0/../..', '~', '$HOME'),
    *('train', 'CON', 'ü', 'a\nb', ' ', '-x', 'manifest.csv', 'x' * 300, '\ufeff', "'", '"', '=1+1'),
]


def _source(root: Path) -> Path:
    source = root / 'source'
    for label in ('c0', 'c1'):
        (source / label).mkdir(parents=True)
        for i in range(4):
            (source / label / f'{i}.png').write_bytes(f'{label}{i}'.encode())
    (root / 'secret').mkdir()
    (root / 'secret' / 'x.png').write_bytes(b'secret')
    return source


def _everything(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob('*') if path.is_file()}


@at_scale(100, 2500)
def test_manifests(number, tmp_path, capfd):
    source, path = _source(tmp_path), tmp_path / 'list.csv'
    before = _everything(source) | _everything(tmp_path / 'secret')

    def check(rng) -> str:
        dst = tmp_path / 'made' / str(rng.random())
        rows = [(rng.choice(['train', 'val']), label, f'{i}.png') for label in ('c0', 'c1') for i in range(4)]
        rows = rng.sample(rows, rng.randint(1, len(rows)))
        if rng.random() < 0.5:
            i = rng.randrange(len(rows))
            row = list(rows[i])
            row[rng.randrange(3)] = rng.choice(
                [*_ODD, *_ODD, 'c1', '5.png', '../../secret/x.png', str(tmp_path / 'secret/x.png')]
            )
            rows[i] = tuple(row)
        out = io.StringIO()
        csv.writer(out).writerows([('split', 'class', 'file'), *rows])
        content = out.getvalue().encode('utf-8', 'surrogatepass')
        path.write_bytes(damaged(rng, content) if rng.random() < 0.3 else content)
        copy = rng.random() < 0.5
        counts, sentence = attempt(lambda: make_subset(source, dst, lists=path, copy=copy))
        capfd.readouterr()
        assert not (tmp_path / 'outside').exists()
        if sentence is not None:
            assert not dst.exists()
            return REFUSED
        with open(path, encoding='utf-8-sig', newline='') as file:
            listed = {tuple(row) for row in list(csv.reader(file))[1:] if row}
        made = {found.relative_to(dst).parts: found for found in dst.glob('*/*/*')}
        assert set(made) == {(split, label, file.removeprefix(f'{label}/')) for split, label, file in listed}
        assert sum(counts.values()) == len(made)
        for found in made.values():
            assert found.read_bytes() == (source / found.parent.name / found.name).read_bytes()
        assert {entry.name for entry in dst.parent.iterdir()} >= {dst.name}
        return ACCEPTED

    outcomes = run_cases('manifests', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > number / 10
    assert _everything(source) | _everything(tmp_path / 'secret') == before


# --- nothing is written through a link, and nothing of others is written over


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of somebody else's."""
    folder = tmp_path / 'elsewhere'
    folder.mkdir()
    (folder / 'precious.txt').write_text('precious')
    return folder


def _begin(source: Path, dst: Path, copy: bool) -> Path:
    """A subset that was interrupted before its last image; returns its folder."""
    make_subset(source, dst, {'train': 2}, copy=copy)
    sorted(dst.glob('train/*/*'))[-1].unlink()
    return dst.rename(dst.with_name('dst.partial'))


@pytest.mark.parametrize('copy', [False, True], ids=['link', 'copy'])
@pytest.mark.parametrize('which', ['train', 'train/c1', 'manifest.csv', 'image', '.copy'])
def test_links_in_a_started_subset_are_not_followed(tmp_path, elsewhere, which, copy):
    source, dst = _source(tmp_path), tmp_path / 'dst'
    partial = _begin(source, dst, copy)
    place = sorted(partial.glob('train/c1/*'))[0] if which == 'image' else partial / which
    target = elsewhere / 'moved'
    if os.path.lexists(place):
        os.rename(place, target)
    else:
        target.write_text('precious too')
    place.symlink_to(target)
    before = _everything(elsewhere)
    _, sentence = attempt(lambda: make_subset(source, dst, {'train': 2}, copy=copy))
    assert _everything(elsewhere) == before
    assert (sentence is None) == (which == '.copy')  # our own leftover: the link is removed, its target stays


@pytest.mark.parametrize('copy', [False, True], ids=['link', 'copy'])
def test_a_target_that_is_a_link(tmp_path, elsewhere, copy):
    """A link to a folder with content, to nowhere, or into the source is refused."""
    source, dst = _source(tmp_path), tmp_path / 'dst'
    for target in (elsewhere, tmp_path / 'nowhere', source / 'c0', source):
        before = _everything(tmp_path)
        dst.symlink_to(target)
        with pytest.raises(UserError, match='dst'):
            make_subset(source, dst, {'train': 1}, copy=copy)
        dst.unlink()
        assert _everything(tmp_path) == before
        assert not (tmp_path / 'nowhere').exists()
