"""Printed characters in many fonts: hundreds of classes with a given tree, few fonts to train on, others to test on."""

import unicodedata
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError
from ..hierarchy import ClassHierarchy

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
    """Script, case and letter of each class, or the kind of the sign."""

    def groups(character: str) -> list[str]:
        script, case, *_ = (*unicodedata.name(character).lower().split(), '')
        if unicodedata.category(character)[0] != 'L':
            return ['digit'] if script == 'digit' else ['sign', f'sign {unicodedata.category(character)}']
        letter = unicodedata.normalize('NFD', character)[0]
        return [script, f'{script} {case}', f'{script} {case} {letter}']

    return ClassHierarchy.from_groups({class_name(c): groups(c) for c in sorted(CHARACTERS, key=class_name)})


def draw_characters(per_class: int, size: int, seed: int) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Yield the split, class, file name and image of each character, from one face of each font family.

    Raises:
        UserError: If fewer than `per_class` + 2 families have all characters.
    """
    if per_class < 1:
        raise UserError(f'--per-class must be at least 1: {per_class}')
    rng = np.random.default_rng(seed)
    most = per_class + 2 * _MOST_FAMILIES
    fonts: dict[str, list[Image.Image]] = {}
    families = _find_families()
    for family in rng.permutation(sorted(families)):
        path = str(rng.choice(families[family]))
        images = _draw(path, size) if len(fonts) < most else []
        if images and not any(_alike(images, others) for others in fonts.values()):
            fonts[family] = images
    if len(fonts) < per_class + 2:
        raise UserError(
            f'expected {per_class + 2} font families with all {len(CHARACTERS)} characters, found {len(fonts)}: install more (apt-get install fonts-noto-core fonts-freefont-ttf fonts-inter '
            f'fonts-open-sans fonts-linuxlibertine), or lower --per-class'
        )
    tested = (len(fonts) - per_class) // 2
    for rank, (family, images) in enumerate(fonts.items()):
        split = 'train' if rank < per_class else 'validation' if rank < per_class + tested else 'test'
        for character, image in zip(CHARACTERS, images, strict=True):
            yield split, class_name(character), family.lower().replace(' ', '-'), image


def _find_families() -> dict[str, list[str]]:
    """Font files by family, of those that have all characters."""
    try:
        from matplotlib import font_manager, get_data_path
        from matplotlib.ft2font import FT2Font
    except ImportError:
        raise UserError("the characters need matplotlib: pip install 'timm-vipriors[plot]'") from None
    wanted = {ord(character) for character in CHARACTERS}
    families: dict[str, list[str]] = {}
    bundled = font_manager.findSystemFonts([get_data_path()])
    for path in sorted({*font_manager.findSystemFonts(), *bundled}):
        try:
            font = FT2Font(path)
        except RuntimeError:  # a file that FreeType cannot read
            continue
        if wanted <= font.get_charmap().keys():
            families.setdefault(font.family_name, []).append(path)
    return families


def _draw(path: str, size: int) -> list[Image.Image]:
    """Draw all characters black on white; nothing if the font leaves one empty or two alike."""
    font = ImageFont.truetype(path, round(0.66 * size))
    images = []
    for character in CHARACTERS:
        image = Image.new('L', (size, size), 255)
        ImageDraw.Draw(image).text((size / 2, 0.74 * size), character, fill=0, font=font, anchor='ms')
        images.append(image)
    blank = Image.new('L', (size, size), 255).tobytes()
    different = {image.tobytes() for image in images} - {blank}
    return images if len(different) == len(images) else []


def _alike(images: list[Image.Image], others: list[Image.Image]) -> bool:
    """Whether two fonts are the same but for details, such as Liberation Sans and Arimo."""
    pairs = zip(images, others, strict=True)
    return np.mean([np.abs(np.subtract(image, other, dtype=float)).mean() for image, other in pairs]) < 5
