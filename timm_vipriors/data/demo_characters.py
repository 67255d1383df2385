"""Printed characters in many fonts: hundreds of classes with a given tree, few fonts to train on, others to test on."""

import unicodedata
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError
from ..hierarchy import ClassHierarchy

Sample = tuple[str, str, str, np.ndarray]  # split, class, file name without its ending, grey pixels

# Of characters that differ in size alone (C and c) or look the same in two scripts (B and В), there is one.
CHARACTERS = (
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
    'ÀÁÂÃÄÅĀĂĄÆĆĈČĊÇĎÐÈÉÊËĒĖĘĚĜĞĠĤÌÍÎÏĨĪİĴĹĽŁÑŃŇÒÓÔÕÖØŌŐŒŔŘŚŜŞŠŤŢÙÚÛÜŨŪŬŮŰŴÝŶŸŹŻŽÞ'
    'abdefghijmnqrty'
    'àáâãäåāăąæßèéêëēėęěĝğġĥìîïñńňŕřť'
    'ΓΔΘΛΞΣΨΩ'
    'αβγδεζηθλμξπσφψω'
    'БДЖИЙЛЦЧШЩЪЫЬЭЮЯбЂЉЊЄЋЏ'
    '123456789'
    '!?&@#$%*+=/()[]{}<>€£¥§¶©®±÷¿¡«»†‡'
)
_MOST_FAMILIES = 20  # in validation and in test


def class_name(character: str) -> str:
    """Its name in Unicode, fit for a folder."""
    return unicodedata.name(character).lower().replace(' ', '_')


def character_tree() -> ClassHierarchy:
    """The classes by script, case and letter; digits; signs by their kind in Unicode."""

    def groups(character: str) -> list[str]:
        script, case, *_ = (*unicodedata.name(character).lower().split(), '')
        if not character.isalpha():
            return ['digit'] if script == 'digit' else ['sign', f'sign {unicodedata.category(character)}']
        letter = unicodedata.normalize('NFD', character)[0]  # without its accents
        return [script, f'{script} {case}', f'{script} {case} {letter}']

    return ClassHierarchy.from_groups({class_name(c): groups(c) for c in sorted(CHARACTERS, key=class_name)})


def draw_characters(
    per_class: int, rng: np.random.Generator, size: int, characters: str = CHARACTERS
) -> Iterator[Sample]:
    """Draw all characters in one random face of each font family that has them.

    Raises:
        UserError: If fewer than `per_class` + 2 families have all characters.
    """
    if per_class < 1:
        raise UserError(f'--per-class must be at least 1: {per_class}')
    files = _find_fonts(characters)
    fonts: dict[str, np.ndarray] = {}
    for family in rng.permutation(sorted(files)):
        drawn = _draw(str(rng.choice(files[family])), size, characters)
        # one font under two names, such as Liberation Sans and Arimo, would be in train and in test
        if drawn is not None and not any(np.abs(drawn - other).mean() < 5 for other in fonts.values()):
            fonts[family] = drawn
    if len(fonts) < per_class + 2:
        raise UserError(
            f'expected {per_class + 2} font families that have all {len(characters)} characters, found {len(fonts)}: '
            'lower --per-class or install more (apt-get install fonts-dejavu fonts-freefont-ttf fonts-noto-core)'
        )
    tested = min(_MOST_FAMILIES, (len(fonts) - per_class) // 2)
    splits = ['train'] * per_class + ['validation'] * tested + ['test'] * tested
    for split, (family, drawn) in zip(splits, fonts.items(), strict=False):
        for character, pixels in zip(characters, drawn.astype(np.uint8), strict=True):
            yield split, class_name(character), family.lower().replace(' ', '-'), pixels


def _find_fonts(characters: str) -> dict[str, list[str]]:
    """Font files that have all characters, by family; matplotlib finds them on every system."""
    try:
        from matplotlib import font_manager, get_data_path
        from matplotlib.ft2font import FT2Font
    except ImportError:
        raise UserError("the characters need matplotlib: pip install 'timm-vipriors[plot]'") from None
    families: dict[str, list[str]] = {}
    for path in sorted({*font_manager.findSystemFonts(), *font_manager.findSystemFonts([get_data_path()])}):
        try:
            font = FT2Font(path)
        except RuntimeError:  # FreeType cannot read it
            continue
        if set(map(ord, characters)) <= font.get_charmap().keys():
            families.setdefault(font.family_name, []).append(path)
    return families


def _draw(path: str, size: int, characters: str) -> np.ndarray | None:
    """All characters (C, size, size), black on white; None if it cannot draw one, or draws nothing or two alike."""
    font = ImageFont.truetype(path, round(0.66 * size))
    images = []
    for character in characters:
        image = Image.new('L', (size, size), 255)
        try:
            ImageDraw.Draw(image).text((size / 2, 0.74 * size), character, fill=0, font=font, anchor='ms')
        except OSError:  # a glyph with instructions that FreeType refuses
            return None
        images.append(image)
    different = {image.tobytes() for image in images if image.getextrema() != (255, 255)}
    return np.stack(images).astype(np.float32) if len(different) == len(images) else None
