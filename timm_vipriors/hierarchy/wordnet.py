"""A semantic tree of the classes from WordNet, whose nouns stand below more general ones.

VIPF §3.2 defines its tree "according to the semantic relationship" of the classes. As in NBDT's code, a noun with
several hypernyms stands below its first one.
"""

import os
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files import quoted
from .sources import Tree, checked_names, tree_from_parents

DEBIAN = Path('/usr/share/wordnet')  # of the package wordnet-base
# endings of plurals and what they stand for, as WordNet's own search has them
_PLURALS = {'s': '', 'ses': 's', 'xes': 'x', 'zes': 'z', 'ches': 'ch', 'shes': 'sh', 'men': 'man', 'ies': 'y'}


def find_wordnet() -> Path:
    """Debian's folder, or where nltk looks for its corpus, which it downloads as a .zip file."""
    roots = ['~', sys.prefix, f'{sys.prefix}/share', '/usr/share', '/usr/local/share']
    data = [*filter(None, os.environ.get('NLTK_DATA', '').split(os.pathsep)), *(f'{root}/nltk_data' for root in roots)]
    corpora = [Path(place, 'corpora', name).expanduser() for place in data for name in ('wordnet', 'wordnet.zip')]
    return next((place for place in (DEBIAN, *corpora) if place.exists()), DEBIAN)


def tree_from_wordnet(
    class_names: Sequence[str], place: Path, senses: Mapping[str, str]
) -> tuple[Tree, int, dict[str, tuple[str, str]]]:
    """A tree of classes that are WordNet's ids or words; see `ClassHierarchy.from_wordnet`."""
    names = checked_names(class_names)
    if unknown := senses.keys() - set(names):
        raise ValueError(f'senses are given for what is no class: {quoted(sorted(unknown))}')
    data = _read(place, 'data.noun')
    offsets, chosen = _find_nouns(names, data, place, senses)
    twice: dict[str, str] = {}
    for name, offset in offsets.items():
        if twice.setdefault(offset, name) != name:
            raise ValueError(f'{name!r} and {twice[offset]!r} are the same noun of WordNet: n{offset}')
    parent_of, word_of, dropped = {}, {}, 0
    for offset in offsets.values():
        while offset is not None and offset not in word_of:
            word_of[offset], hypernyms, _ = _synset(data, offset)
            dropped += max(0, len(hypernyms) - 1)
            if hypernyms:
                parent_of[offset] = hypernyms[0]
            offset = parent_of.get(offset)
    try:
        parents, _, node_names = tree_from_parents(list(offsets.values()), parent_of)
    except ValueError as e:
        called = {**word_of, **{offset: name for name, offset in offsets.items()}}
        raise ValueError(re.sub(r"'(\d{8})'", lambda found: repr(called[found[1]]), str(e))) from e
    taken = {name: (f'n{offsets[name]}', _synset(data, offsets[name])[2]) for name in chosen}
    return (parents, names, {node: word_of[offset] for node, offset in node_names.items()}), dropped, taken


def _find_nouns(
    names: Sequence[str], data: bytes, place: Path, senses: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The offset of each name in data.noun, and the names that are words of several senses: the first is taken."""
    by_word: dict[str, list[str]] = {}
    for line in _read(place, 'index.noun').decode().splitlines():
        if not line.startswith(' '):  # the licence
            word, _, count, *rest = line.split()
            by_word[word] = rest[-int(count) :]
    singular = dict(line.split()[:2] for line in _read(place, 'noun.exc').decode().splitlines())
    found, several, ids = {}, [], False
    for name in names:
        word = re.sub(r'[ -]', '_', senses.get(name, name).strip().lower())
        if number := re.match(r'n(\d{8})(?![a-z0-9])', word):  # also n02085620-Chihuahua
            start, ids = int(number[1]), True
            offsets = [number[1]] if data[max(start - 1, 0) : start + 9] == f'\n{number[1]} '.encode() else []
        else:
            endings = [word.removesuffix(end) + base for end, base in _PLURALS.items() if word.endswith(end)]
            forms = [word, singular.get(word), *endings]
            offsets = next((by_word[form] for form in forms if form in by_word), [])
        if offsets:
            found[name] = offsets[0]
        if len(offsets) > 1:
            several.append(name)
    version = re.search(rb'WordNet (\d\.\d)', data[:2000])
    if ids and version and version[1] != b'3.0':
        raise ValueError(f'{place} is WordNet {version[1].decode()}, whose ids are others: expected WordNet 3.0')
    if unknown := [name for name in names if name not in found]:
        raise ValueError(f'expected ids (n02084071) or words of nouns in WordNet, not known are {quoted(unknown)}')
    return found, several


def _synset(data: bytes, offset: str) -> tuple[str, list[str], str]:
    """The first word of a noun, the offsets of its hypernyms (or of what it is an instance of), and its meaning."""
    line, _, gloss = data[int(offset) : data.index(b'\n', int(offset))].decode().partition('|')
    fields = line.split()
    at = 4 + 2 * int(fields[3], 16)  # after the words, each with a number
    pointers = fields[at + 1 : at + 1 + 4 * int(fields[at])]
    hypernyms = [pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ('@', '@i')]
    return fields[4].replace('_', ' '), hypernyms, gloss.partition(';')[0].strip()


def _read(place: Path, name: str) -> bytes:
    """A file of WordNet, in a folder or in nltk's zip file."""
    try:
        return (zipfile.Path(place, f'{place.stem}/{name}') if place.suffix == '.zip' else place / name).read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as e:
        raise FileNotFoundError(
            f'{place} has no WordNet ({name}): install the Debian package wordnet-base or nltk\'s corpus "wordnet", or '
            f'name a folder with the files of WordNet 3.0'
        ) from e
