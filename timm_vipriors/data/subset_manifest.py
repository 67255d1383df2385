"""The manifest of a subset, a CSV file with the columns `split,class,file`, and lists that others wrote."""

import csv
import io
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from ..errors import UserError

MANIFEST = 'manifest.csv'

_HEADER = ['split', 'class', 'file']
_PICKLES = ('.pickle', '.pkl', '.p')
_LONGEST_NAME = 255  # of most file systems
_NAME_RULE = 'plain names: not empty, not hidden, without folders'

Row = tuple[str, str, str]  # split, class, file


def write_manifest(path: str, rows: Iterable[Row]) -> dict[str, int]:
    """Write a manifest, and return the number of images by split."""
    counts: dict[str, int] = {}
    with naming(path), open(path, 'w', encoding='utf-8', newline='') as file:
        plain = csv.writer(file, lineterminator='\n')
        quoting = csv.writer(file, lineterminator='\n', quoting=csv.QUOTE_ALL)
        plain.writerow(_HEADER)
        for row in rows:
            # before Python 3.13 the csv module forgets to quote a carriage return
            (quoting if any('\r' in cell for cell in row) else plain).writerow(row)
            counts[row[0]] = counts.get(row[0], 0) + 1
    return counts


def read_manifest(path: str) -> Iterator[list[str]]:
    """The rows of a manifest that `write_manifest` wrote."""
    with open(path, encoding='utf-8', newline='') as file:
        rows = csv.reader(file)
        next(rows)
        yield from rows


def listed_rows(
    source: str, lists: str | os.PathLike | Mapping[str, str | os.PathLike], suffixes: Collection[str]
) -> Iterator[Row]:
    """The rows of lists as a manifest has them: class by class, within a class split by split, as they were listed.

    Args:
        source: The folder with the images, by class.
        lists: A manifest, or lists of one split each.
        suffixes: How the names of images end.

    Raises:
        UserError: If a list is not in its form, or a row is not an image of the source, or is there twice.
    """
    split_of: dict[str, dict[str, str]] = {}  # by class and file
    for split, path in lists.items() if isinstance(lists, Mapping) else [(None, lists)]:
        where = None
        for where, row in _read_list(os.fspath(path), split):
            try:
                _check_row(source, row, suffixes)
                _add_row(split_of, row)
            except UserError as e:
                raise UserError(f'{where}: {e}') from None
        if where is None:
            raise UserError(f'the list {shown(os.fspath(path))} has no rows')
    for name, files in sorted(split_of.items()):
        for split in dict.fromkeys(files.values()):
            yield from ((split, name, file) for file, its_split in files.items() if its_split == split)


def _add_row(split_of: dict[str, dict[str, str]], row: Row) -> None:
    split, name, file = row
    other = split_of.setdefault(name, {}).get(file)
    if other is not None:
        raise UserError(f'{f"{name}/{file}"!r} is there a second time, for {split!r} after {other!r}')
    split_of[name][file] = split


def _check_row(source: str, row: Row, suffixes: Collection[str]) -> None:
    """Raise if a row, which may come from anyone, is not an image of the source."""
    split, name, file = row
    check_split_name(split)
    if not is_plain(name) or not is_plain(file):
        raise UserError(f'expected {_NAME_RULE}, got the class {name!r} and the file {file!r}')
    image = os.path.join(source, name, file)
    if not os.path.isfile(image):
        raise UserError(f'there is no file {shown(image)}')
    if os.path.splitext(file)[1].lower() not in suffixes:
        raise UserError(f'{shown(image)} is no image for timm, these end in {", ".join(sorted(suffixes))}')


def _read_list(path: str, split: str | None) -> Iterator[tuple[str, Row]]:
    """The rows of a list, each with words for where it is. Without a split it is a manifest."""
    header = _HEADER if split is None else _HEADER[1:]
    form = ','.join(header)
    hint = ' (class,file goes with --list SPLIT=FILE)' if split is None else ' (a manifest goes with --list FILE)'
    pickled = f'is a pickle, and loading one can run code of whoever made it: write it as CSV with the columns {form}'
    if path.lower().endswith(_PICKLES):
        raise UserError(f'{shown(path)} {pickled}{hint}')
    if not os.path.exists(path):
        raise UserError(f'the list {shown(path)} does not exist')
    with open(path, 'rb') as file:
        if file.peek(1)[:1] == b'\x80':  # so begins a pickle of any protocol since 2, and no text in UTF-8
            raise UserError(f'{shown(path)} {pickled}{hint}')
        lines = csv.reader(io.TextIOWrapper(file, encoding='utf-8-sig', newline=''), strict=True)
        try:
            for number, cells in enumerate(filter(None, lines)):  # without blank lines
                where = f'{shown(path)}, line {lines.line_num}'
                if number == 0 and cells == header:
                    continue
                if number == 0 and split is None:
                    raise UserError(f'{where}: expected the header {form}, got {",".join(cells)!r:.80}{hint}')
                if split is not None and len(cells) == 1:
                    cells = cells[0].split('/', 1)
                if len(cells) != len(header):
                    raise UserError(f'{where}: expected the columns {form}, got {",".join(cells)!r:.80}{hint}')
                *given, name, image = cells
                yield where, (given[0] if given else split, name, image.removeprefix(f'{name}/'))
        except UnicodeDecodeError as e:
            raise UserError(f'{shown(path)} is no text in UTF-8 ({e.reason}): expected CSV with {form}') from None
        except csv.Error as e:
            raise UserError(f'{shown(path)}, line {lines.line_num}: {e}: expected CSV with {form}') from None


def check_split_name(name: str) -> None:
    """Raise if a text cannot be a split's folder beside the manifest."""
    if not is_plain(name) or '\\' in name or name.lower() == MANIFEST or not is_utf8(name):
        raise UserError(f'expected {_NAME_RULE}, got the split {name!r}')
    if len(name.encode()) > _LONGEST_NAME:  # found here, before anything is made
        raise UserError(f'the name of a split has at most {_LONGEST_NAME} bytes, got {name[:40]!r}…')


def is_plain(name: str) -> bool:
    """Whether a text names an entry of a folder, and one that is not hidden."""
    return name != '' and name == os.path.basename(name) and not name.startswith('.') and '\0' not in name


def is_utf8(name: str) -> bool:
    """Whether the bytes of a file's name are a text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    """A path for a message of one line, whatever is in its name."""
    return path if path and path.isprintable() else repr(path)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Have an OSError name the file: one of a full disk, which comes with a write, does not."""
    try:
        yield
    except OSError as e:
        if e.filename is None:
            e.filename = path
        raise
