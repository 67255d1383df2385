"""Subsets by lists: manifests, and lists of one split each."""

import pickle

import pytest

from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError

from .subset_files import CLASSES, rows, tree, write_images


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
    ('train,c0,missing.jpg', "there is no image 'c0/missing.jpg' in .*src"),
    ('train,nowhere,1.jpg', "there is no image 'nowhere/1.jpg'"),
    ('train,c0,notes.txt', "there is no image 'c0/notes.txt'"),
    ('"train,c0,1.jpg', 'expected CSV'),
    ('train,c0,"1"x.jpg', 'expected CSV'),
    ('train,c0,' + 'x' * 200_000, 'expected CSV'),
    ('train,c0,caf\udce9.jpg', 'expected CSV in UTF-8'),
    ('train,c0,1\0.jpg', ''),
    *(
        (f'train,c0,{file}', 'there is no image')
        for file in ('.hidden.jpg', '', '../c1/1.jpg', 'c1/1.jpg', '/etc/1.jpg')
    ),
    *((f'train,{name},1.jpg', 'is no image') for name in ('', '..', '.', '../src/c0', '/etc', '.thumbnails')),
    *(
        (f'{split},c0,1.jpg', 'a plain name of a split')
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
        ('c0/../c1/0.jpg\n', 'line 1: there is no image'),
        ('/c0/0.jpg\n', 'line 1: there is no image'),
        ('../0.jpg\n', 'line 1: there is no image'),
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
