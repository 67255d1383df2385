"""A tree as text and as a picture."""

import itertools

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.hierarchy.drawing import tree_figure

from .trees import random_parents


def picture(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == 'PNG'
        return np.asarray(image.convert('L'), dtype=float)


def test_text(tree):
    assert tree.text().splitlines() == [
        '┬ 4 classes',
        '├── car',
        '├── bus',
        '└─┬ animal (2 classes)',
        '  ├── cat',
        '  └── dog',
    ]
    assert ClassHierarchy([2, 2, -1], ['a\nb', '\x1b[1m']).text().splitlines()[1:] == ['├── a\\nb', '└── \\x1b[1m']


def test_text_shows_every_node_below_its_parent():
    tree = ClassHierarchy(random_parents(np.random.default_rng(3), 30))
    for line, node in zip(tree.text().splitlines(), tree.order, strict=True):
        assert len(line) - len(line.lstrip('│├└─┬ ')) == 2 * len(tree.path(node)) + 2


def test_pictures(tmp_path):
    pytest.importorskip('matplotlib')
    rng = np.random.default_rng(0)
    heights = []
    for classes in (3, 30, 160):  # the last one as a circle
        tree = ClassHierarchy(random_parents(rng, classes), [f'class ${i}$' for i in range(classes)])
        tree.draw(tmp_path / 'p' / 't.png')
        pixels = picture(tmp_path / 'p' / 't.png')
        assert pixels.var() > 0
        heights.append(len(pixels))
        assert list((tmp_path / 'p').iterdir()) == [tmp_path / 'p' / 't.png']
    assert heights == sorted(heights)
    assert heights[1] > 5 * heights[0]


def test_pictures_say_the_names(tmp_path):
    pytest.importorskip('matplotlib')
    for classes in (10, 160):
        names = [f'class {i}' for i in range(classes)]
        tree = ClassHierarchy(random_parents(np.random.default_rng(1), classes, most=3), names)
        tree = ClassHierarchy(tree.parents, tree.class_names, {tree.parents[0]: 'a group', tree.root: 'x' * 60})
        axes = tree_figure(tree).axes[0]
        shown = [text.get_text() for text in axes.texts]
        assert sorted(shown) == sorted([*names, 'a group', 'x' * 39 + '…'])
        inches = axes.transData.transform([text.get_position() for text in axes.texts]) / axes.figure.dpi
        places = dict(zip(shown, inches, strict=True))
        gaps = [np.subtract(places[a], places[b]) for a, b in itertools.combinations(names, 2)]
        assert min(np.linalg.norm(gap) for gap in gaps) > 0.12  # inches, more than 7 points
        assert len(axes.collections[0].get_segments()) == 2 * tree.num_nodes - 1 - classes
        assert len({tuple(color) for color in axes.collections[0].get_colors().tolist()}) > 2


def test_pictures_of_other_formats(tree, tmp_path):
    pytest.importorskip('matplotlib')
    tree.draw(tmp_path / 't.svg')
    assert '<svg' in (tmp_path / 't.svg').read_text()
    tree.draw(tmp_path / 'plain')
    picture(tmp_path / 'plain')
    with pytest.raises(ValueError, match='nonsense'):
        tree.draw(tmp_path / 't.nonsense')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['plain', 't.svg']


def test_without_matplotlib(tree, tmp_path, no_matplotlib):
    with pytest.raises(ImportError, match=r"pip install 'timm-vipriors\[plot\]'"):
        tree.draw(tmp_path / 't.png')
    assert list(tmp_path.iterdir()) == []
