"""`timm-vipriors subset`: its flags and what it prints."""

import pytest

from timm_vipriors.cli import main
from timm_vipriors.commands.subset import parse_lists, parse_splits
from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError

from .subset_files import rows, tree, write_images


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
        ('--splits ,', 'no number'),
        ('--list x --per-class 1', 'leave --per-class, --splits and --seed out'),
        ('--list x --splits a=1', 'leave --per-class, --splits and --seed out'),
        ('--list x --seed 0', 'leave --per-class, --splits and --seed out'),
        ('--list x', 'the list x does not exist'),
        ('--images x', "--images is for --csv and timm's data sets"),
        ('--columns a,b', 'give it with --csv FILE'),
        ('--csv x', 'name DST alone'),
    ],
)
def test_command_refuses(source, dst, flags, message, capsys):
    assert main(['subset', str(source), str(dst), *flags.split()]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors subset: error: ') and err.count('\n') == 1
    assert message in err
    assert not dst.exists()


def test_without_numbers_a_fifth_validates(source, dst, capsys):
    assert main(['subset', str(source), str(dst)]) == 0
    assert '4 classes, 24 images in train, 8 in validation' in capsys.readouterr().out
    assert main(['subset', str(source)]) == 2
    assert 'name the folder to make after that of the images: SRC DST' in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ('text', 'per_class', 'splits'),
    [
        (None, 5, {'train': 5, 'val': 5}),
        (None, None, {'train': 0.8, 'validation': 0.2}),
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
