"""A folder of images to choose from, and the places of a subset."""

from pathlib import Path

import pytest

from .subset_files import CLASSES, tree, write_images


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
