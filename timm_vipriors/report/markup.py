"""Markup that cannot be injected: text is escaped unless it was made by `el`."""

import html
import re
import unicodedata
from collections.abc import Iterable

_VOID = {'meta', 'img', 'br'}
_SHAPES = {'rect', 'line', 'circle', 'polyline'}
# control characters and lone surrogates, which file names can have and neither HTML nor UTF-8 allows
_NOT_TEXT = re.compile('[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def el(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element of HTML or SVG.

    Args:
        name: Its name.
        content: What is in it: markup as it is, None as nothing, all else as escaped text.
        attributes: Its attributes, with `_` for `-` in their names (`class_` for class), left out where None.
    """
    given = ''.join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f'<{name}{given}>')
    if name in _SHAPES and not content:
        return Markup(f'<{name}{given}/>')
    return Markup(f'<{name}{given}>{join(content)}</{name}>')


def join(parts: Iterable[object]) -> Markup:
    """Parts of markup one after the other; see `el` for what they may be."""
    return Markup(''.join(part if isinstance(part, Markup) else escape(part) for part in parts if part is not None))


def escape(text: object) -> str:
    """A text for use between tags or in a quoted attribute."""
    return html.escape(_NOT_TEXT.sub('\ufffd', str(text)))


def number(value: object) -> object:
    """A coordinate with two decimals at most; anything else as it is."""
    if isinstance(value, float):
        return f'{value:.2f}'.rstrip('0').rstrip('.')
    return value


def width_of(text: str) -> float:
    """The width of a text in average letters: those of East Asia are two wide, and marks that combine none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in text)


def shorten(text: str, width: int) -> str:
    """A text cut to a width, with an ellipsis where something was cut."""
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + '…'
