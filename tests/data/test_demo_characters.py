import numpy as np
import pytest
from matplotlib import font_manager, get_data_path
from PIL import Image

from timm_vipriors.data import demo_characters, make_demo_data
from timm_vipriors.errors import UserError
from timm_vipriors.hierarchy import ClassHierarchy


@pytest.fixture
def bundled_fonts(monkeypatch):
    """The fonts that come with matplotlib, which every machine has: five families with all characters."""
    bundled = font_manager.findSystemFonts([get_data_path()])
    monkeypatch.setattr(font_manager, 'findSystemFonts', lambda *args: bundled)


def test_each_split_has_all_classes_in_fonts_of_its_own(bundled_fonts, tmp_path):
    root = tmp_path / 'd'
    counts = make_demo_data(root, per_class=1, seed=3, set='characters')
    fonts = {}
    for split, count in zip(('train', 'validation', 'test'), counts, strict=True):
        assert len(list((root / split).iterdir())) == len(demo_characters.CHARACTERS)
        files = [sorted(p.name for p in folder.iterdir()) for folder in (root / split).iterdir()]
        assert all(names == files[0] for names in files)
        fonts[split] = set(files[0])
        assert count == len(fonts[split]) * len(files)
    assert len(fonts['train']) == 1
    assert sum(map(len, fonts.values())) == len(set().union(*fonts.values())) >= 3


def test_the_seed_chooses_the_fonts(bundled_fonts, tmp_path):
    fonts = set()
    for seed in (0, 0, 1, 2, 3):
        root = tmp_path / f'{seed}{len(list(tmp_path.iterdir()))}'
        make_demo_data(root, per_class=1, size=16, seed=seed, set='characters')
        fonts.add(next((root / 'train' / 'latin_capital_letter_a').iterdir()).read_bytes())
    assert 2 <= len(fonts) <= 4  # the same seed twice draws the same


def test_characters_are_drawn_upright_and_whole(bundled_fonts, tmp_path):
    make_demo_data(tmp_path / 'd', per_class=1, size=64, set='characters')
    for path in (tmp_path / 'd' / 'train').glob('*/*.png'):
        with Image.open(path) as image:
            ink = 255 - np.asarray(image).astype(int)
        assert ink.max() > 150, path
        assert ink[0].max() < 128 and ink[-1].max() < 128, f'{path} touches the edge'
    (bar,) = (tmp_path / 'd' / 'train' / 'latin_capital_letter_t').iterdir()
    with Image.open(bar) as image:
        ink = 255 - np.asarray(image).astype(int)
    assert ink[:36].sum() > ink[36:].sum()  # a T has its bar above


def test_the_tree_is_that_of_the_scripts(bundled_fonts, tmp_path):
    root = tmp_path / 'd'
    make_demo_data(root, per_class=1, set='characters')
    tree = ClassHierarchy.load(root / 'hierarchy.json')
    assert list(tree.class_names) == sorted(p.name for p in (root / 'train').iterdir())

    def groups(name):
        return [tree.node_names.get(node) for node in tree.path(tree.class_names.index(name))[1:]]

    assert groups('latin_capital_letter_a_with_grave') == ['latin capital A', 'latin capital', 'latin']
    assert groups('digit_seven') == ['digit']
    assert groups('greek_small_letter_psi') == ['greek small', 'greek']
    assert groups('euro_sign') == ['sign Sc', 'sign']


def test_too_few_fonts(bundled_fonts, tmp_path):
    with pytest.raises(UserError, match=r'expected 52 font families .* found \d+: .*\(apt-get install'):
        make_demo_data(tmp_path / 'd', per_class=50, set='characters')
    assert not list(tmp_path.iterdir())


def test_a_font_without_a_glyph_is_left_out(tmp_path, monkeypatch):
    only = [path for path in font_manager.findSystemFonts([get_data_path()]) if 'cmr10' in path]
    monkeypatch.setattr(font_manager, 'findSystemFonts', lambda *args: only)
    with pytest.raises(UserError, match='found 0'):
        make_demo_data(tmp_path / 'd', set='characters')


def test_a_font_that_cannot_be_drawn_is_left_out(bundled_fonts, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError('invalid opcode')  # as FreeType says of kanji in some fonts

    monkeypatch.setattr(demo_characters.ImageDraw.ImageDraw, 'text', refuse)
    with pytest.raises(UserError, match='found 0'):
        make_demo_data(tmp_path / 'characters', set='characters')
