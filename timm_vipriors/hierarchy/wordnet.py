"""A semantic tree of the classes from WordNet, whose nouns stand below more general ones.

VIPF §3.2 defines its tree "according to the semantic relationship" of the classes. As in NBDT's code, a noun with
several hypernyms stands below its first one.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from .checks import checked_names, quoted
from .sources import Tree, tree_from_parents

FOLDER = Path('/usr/share/wordnet')  # of Debian's package wordnet-base


def tree_from_wordnet(class_names: Sequence[str], folder: Path = FOLDER) -> tuple[Tree, int]:
    """A tree of classes that are WordNet's ids or words; see `ClassHierarchy.from_wordnet`.

    Returns:
        The tree, and how many further hypernyms of its nodes were dropped.
    """
    names = checked_names(class_names)
    offsets = _find_nouns(names, folder)
    twice = {}
    for name, offset in offsets.items():
        if twice.setdefault(offset, name) != name:
            raise ValueError(f'{name!r} and {twice[offset]!r} are the same noun of WordNet: n{offset}')
    parent_of, word_of, dropped = {}, {}, 0
    with _open(folder, 'data.noun') as data:
        for offset in offsets.values():
            while offset is not None and offset not in word_of:
                data.seek(int(offset))
                word_of[offset], hypernyms = _parse(data.readline())
                dropped += max(0, len(hypernyms) - 1)
                if hypernyms:
                    parent_of[offset] = hypernyms[0]
                offset = parent_of.get(offset)
    try:
        parents, _, node_names = tree_from_parents(parent_of, list(offsets.values()))
    except ValueError as e:
        called = {**word_of, **{offset: name for name, offset in offsets.items()}}
        raise ValueError(re.sub(r"'(\d{8})'", lambda found: repr(called[found[1]]), str(e))) from e
    return (parents, names, {node: word_of[offset] for node, offset in node_names.items()}), dropped


def _find_nouns(names: Sequence[str], folder: Path) -> dict[str, str]:
    """The offset in data.noun of each name: an id such as n02084071, or a word, of which the first sense is taken."""
    words = {name: re.sub(r'[ -]', '_', name.strip().lower()) for name in names}
    wanted = set(words.values())
    first_sense, nouns = {}, set()
    with _open(folder, 'index.noun') as index:
        for line in index:
            word, _, rest = line.partition(b' ')
            if line.startswith(b' '):  # the licence
                continue
            count = int(rest.split()[1])
            senses = [offset.decode() for offset in rest.split()[-count:]]
            nouns.update(senses)
            if word.decode() in wanted:
                first_sense[word.decode()] = senses[0]
    found = {}
    for name, word in words.items():
        offset = word[1:] if re.fullmatch(r'n\d{8}', word) else first_sense.get(word)
        if offset in nouns:
            found[name] = offset
    if unknown := [name for name in names if name not in found]:
        raise ValueError(f'expected ids (n02084071) or words of nouns in WordNet, not known are {quoted(unknown)}')
    return found


def _parse(line: bytes) -> tuple[str, list[str]]:
    """The first word of a line of data.noun, and the offsets of its hypernyms, also of what it is an instance of."""
    fields = line.partition(b'|')[0].decode().split()
    at = 4 + 2 * int(fields[3], 16)  # after the words, each with a number
    pointers = fields[at + 1 : at + 1 + 4 * int(fields[at])]
    hypernyms = [pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ('@', '@i')]
    return fields[4].replace('_', ' '), hypernyms


def _open(folder: Path, name: str):
    try:
        return open(folder / name, 'rb')
    except OSError as e:
        raise FileNotFoundError(
            f'{folder} has no WordNet ({name}): install the Debian package wordnet-base, or name a folder with the '
            f"files of WordNet 3.0, such as nltk's corpora/wordnet"
        ) from e
