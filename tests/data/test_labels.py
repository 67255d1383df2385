"""`timm-vipriors subset --csv`: images by a table of their labels."""

import csv

import pytest

from timm_vipriors.cli import main
from timm_vipriors.data.labels import csv_source
from timm_vipriors.errors import UserError

from .subset_files import rows, write_images

FILES = ['0.jpg', '1.JPG', '2.png', '3.jpg', 'more/3.jpg', 'note.txt', 'both.jpg', 'both.png']


@pytest.fixture
def images(tmp_path):
    (tmp_path / 'images' / 'more').mkdir(parents=True)
    for i, file in enumerate(FILES):
        (tmp_path / 'images' / file).write_text(f'{i}' * (i + 1))
    return tmp_path / 'images'


def table(folder, text, encoding='utf-8'):
    path = folder.parent / 'labels.csv'
    path.write_bytes(text.encode(encoding))
    return path


GOOD = {'cat': {'0.jpg': '0.jpg', '1.JPG': '1.JPG'}, 'dog': {'3.jpg': '3.jpg', 'more_3.jpg': 'more/3.jpg'}}


@pytest.mark.parametrize(
    ('text', 'columns'),
    [
        ('file,label\n0.jpg,cat\n1.JPG,cat\n3.jpg,dog\nmore/3.jpg,dog\n', None),
        ('id;n;Breed\n0;1;cat\n1; 2; cat\n3;3;dog\n\n"more/3";4;dog', None),  # without endings, with spaces and blanks
        ('\ufeffwhat\tx\ncat\t0\ncat\t1\ndog\t3.jpg\ndog\tmore/3\n', None),
        ('a|b|c\r\nz|0.jpg|cat\r\nz|1.JPG|cat\r\nz|3.jpg|dog\r\nz|3.jpg|dog\r\nz|more/3.jpg|dog\r\n', ['b', 'c']),
    ],
)
def test_tables_that_say_the_same(images, text, columns):
    source = csv_source(table(images, text), images, columns)
    expected = {label: {own: str(images / file) for own, file in files.items()} for label, files in GOOD.items()}
    assert source.images == expected
    assert bool(source.notes) == (text.count('dog') == 3)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'has no rows: expected a header such as file,label'),
        ('file,label\n', 'has no rows'),
        ('file,label\n0.jpg,cat\n9.jpg,dog\n8.jpg,dog\n', '2 images of .* not found in .*: 9.jpg, 8.jpg. Name their'),
        ('file,label\n0.jpg,cat\n1.JPG,\n', "line 3: '1.JPG' has no label"),
        ('file,label\n0.jpg,cat\n\n0,dog\n', "line 4: '0' is 'dog', but 'cat' before"),
        ('file,label\n0.jpg,cat\n1.JPG,cat,dog\n', 'line 3: expected 2 cells as in the header, got 3'),
        ('file,label\nnote.txt,cat\n', 'note.txt: not images by their endings'),
        ('file,label\nboth,cat\n', 'both may be .*both.jpg, .*both.png: write its ending'),
        ('file,label\n0.jpg,..\n', "the label '..' cannot be the name of a folder"),
        ('file,label\n0.jpg,cat\n1.JPG,Cat\n', 'differ only in letter case'),
        ('a,b,c\n0.jpg,1,2\n', 'columns a, b, c, and which one has the label of the images is not clear: .*--columns'),
        (
            'a,b\nx,y\n',
            'columns a, b, and none has a file of an image in .*: name the folder of the images with --images',
        ),
        ('0.jpg,cat\n1.JPG,dog\n', "begins with the image '0.jpg': put a header above it, such as file,label"),
        ('file,label\n0.jpg,"cat\n', 'is no CSV file'),
    ],
)
def test_bad_tables(images, text, message):
    with pytest.raises(UserError, match=f'^[^\n]*{message}[^\n]*$'):
        csv_source(table(images, text), images)


def test_bad_arguments(images):
    path = table(images, 'file,label\n0.jpg,cat\n')
    for arguments, message in (
        ((path.with_name('no.csv'), images), 'cannot be read: No such file'),
        ((path, images / 'no'), 'is not a folder that exists: name that of the images with --images'),
        ((path, images, ['file', 'x']), "has no column 'x': its columns are file, label"),
    ):
        with pytest.raises(UserError, match=message):
            csv_source(*arguments)
    table(images, 'file,label\n0.jpg,é\n', 'latin-1')
    with pytest.raises(UserError, match='is not in UTF-8'):
        csv_source(path)


def test_command(images, dst, capsys):
    names = [f'{i}.jpg' for i in range(20)]
    folder = write_images(images.parent / 'photos', {'x': names}) / 'x'
    with open(images.parent / 'labels.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('photo', 'kind'), *((name, 'ab/c'[i % 2 :: 2]) for i, name in enumerate(names))])
    line = ['subset', '--csv', str(images.parent / 'labels.csv'), '--images', str(folder), str(dst)]
    for there in ('', 'is there already, '):
        assert main(line) == 0
        assert f'{there}2 classes, 16 images in train, 4 in validation' in capsys.readouterr().out
    for split, label, file in rows(dst):
        assert label == ('a_', 'bc')[int(file[:-4]) % 2]
        assert (dst / split / label / file).read_bytes() == (folder / file).read_bytes()
    assert main([*line[:-1], str(images), '--splits', 'train=1']) == 2  # another place, and not one of a subset
    assert main([*line[:-1], str(dst), 'x']) == 2
    assert 'name DST alone' in capsys.readouterr().err
