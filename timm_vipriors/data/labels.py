"""The images of a subset from a table of labels, as competitions give them: a CSV file with a row for each image."""

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..files import first_names, plural, printable
from .datasets import image_extensions
from .sources import ImageSource, class_folders

_LABELS = 'label labels class class_name category target species breed'.split()  # usual names of the column


def csv_source(
    path: str | os.PathLike, images: str | os.PathLike | None = None, columns: Sequence[str] | None = None
) -> ImageSource:
    """The images that a CSV file names, by the labels that it gives them.

    Args:
        path: The file: UTF-8, with a header, separated by commas, semicolons, tabs or bars.
        images: The folder that its file names begin in; that of the CSV file if not given. They may lack their ending.
        columns: The names of the columns with the file and with the label. If not given, the first is the one that has
            most files in the first rows, and the second the other one of two, or the one called class, label and so on.

    Raises:
        UserError: If the file cannot be read, a column is not found, a label is empty, an image is missing or is no
            image, or has two labels.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, '0.jpg').write_bytes(b'...')
        ...     _ = Path(folder, 'labels.csv').write_text('id,species\\n0,cat\\n')
        ...     list(csv_source(f'{folder}/labels.csv').images)
        ['cat']
    """
    path, name = os.fspath(path), printable(path)
    images = os.fspath(images or os.path.dirname(path) or '.')
    if not os.path.isdir(images):
        raise UserError(f'{printable(images)} is not a folder that exists: name that of the images with --images')
    (_, header), *rows = _rows(path)
    columns = columns or _found(header, rows, images, name)
    file_column, label_column = (_place(header, column, name) for column in columns)
    labels: dict[str, str] = {}  # by file
    missing = []
    for line, cells in rows:
        if len(cells) != len(header):
            raise UserError(f'{name}, line {line}: expected {len(header)} cells as in the header, got {len(cells)}')
        value, label = cells[file_column], cells[label_column]
        if not label:
            raise UserError(f'{name}, line {line}: {value!r} has no label: add it, or remove the line')
        if (file := _find(images, value)) is None:
            missing.append(value)
        elif labels.setdefault(file, label) != label:
            raise UserError(f'{name}, line {line}: {value!r} is {label!r}, but {labels[file]!r} before: keep one line')
    if missing:
        raise UserError(
            f'{plural(len(missing), "image")} of {name} not found in {printable(images)}: {first_names(missing)}. Name '
            f'their folder with --images, or remove these lines'
        )
    folders, known = class_folders(labels.values()), image_extensions()
    if others := [file for file in labels if os.path.splitext(file)[1].lower() not in known]:
        raise UserError(f'{first_names(others)}: not images by their endings; convert them, to JPEG for example')
    times = Counter(map(os.path.basename, labels))
    by_class: dict[str, dict[str, str]] = {folder: {} for folder in sorted(folders.values())}
    for file, label in sorted(labels.items()):
        own = os.path.basename(file)
        if times[own] > 1:  # told apart by its folders
            own = os.path.relpath(file, images).replace(os.sep, '_')
        if own in by_class[folders[label]] or own.startswith('.'):
            raise UserError(f'{printable(file)} would be called {printable(own)}, hidden or as another is: rename it')
        by_class[folders[label]][own] = os.path.realpath(file)
    repeated = len(rows) - len(labels)
    notes = [f'{name}: {plural(repeated, "line")} repeated, with the same label, and taken once'] if repeated else []
    return ImageSource(name, by_class, sorted(set(map(os.path.dirname, labels))), notes=notes)


def _rows(path: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with their line numbers and without spaces around the cells."""
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
        first = text.lstrip().split('\n', 1)[0]
        lines = csv.reader(io.StringIO(text, newline=''), delimiter=max(',;\t|', key=first.count), strict=True)
        rows = [(lines.line_num, [cell.strip() for cell in cells]) for cells in lines if any(map(str.strip, cells))]
    except OSError as e:
        raise UserError(f'{printable(path)} cannot be read: {e.strerror}') from e
    except UnicodeDecodeError as e:
        raise UserError(f'{printable(path)} is not in UTF-8: save it as CSV in UTF-8') from e
    except csv.Error as e:
        raise UserError(f'{printable(path)} is no CSV file: {e}') from e
    if len(rows) < 2:
        raise UserError(
            f'{printable(path)} has no rows: expected a header such as file,label, and a row for each image'
        )
    return rows


def _found(header: list[str], rows: list, images: str, name: str) -> tuple[str, str]:
    """The names of the two columns."""
    if image := next((cell for cell in header if _find(images, cell)), None):  # the first one would be lost
        raise UserError(f'{name} begins with the image {image!r}: put a header above it, such as file,label')
    values = [cells for _, cells in rows[:20] if len(cells) == len(header)]
    files = [sum(_find(images, value) is not None for value in column) for column in zip(*values, strict=True)]
    if not any(files):
        raise UserError(
            f'{name} has the columns {first_names(header, 20)}, and none has a file of an image in {printable(images)} '
            f'in its first rows: name the folder of the images with --images, or both columns with --columns FILE,LABEL'
        )
    file = header[files.index(max(files))]
    others = [column for column in header if column != file]
    labels = [column for column in others if len(others) == 1 or column.lower() in _LABELS]
    if len(labels) != 1:
        raise UserError(
            f'{name} has the columns {first_names(header, 20)}, and which one has the label of the images is not '
            f'clear: name both with --columns FILE,LABEL'
        )
    return file, labels[0]


def _place(header: list[str], column: str, name: str) -> int:
    if header.count(column) != 1:
        many = 'two columns' if column in header else 'no column'
        raise UserError(f'{name} has {many} {column!r}: its columns are {first_names(header, 20)}')
    return header.index(column)


def _find(folder: str, value: str) -> str | None:
    """The file that a value names, with or without its ending."""
    if not value or os.path.isfile(path := os.path.join(folder, value)):
        return path if value else None
    paths = (path + e for ending in sorted(image_extensions()) for e in (ending, ending.upper()))
    found = {os.stat(path).st_ino: path for path in paths if os.path.isfile(path)}  # some systems ignore the case
    if len(found) > 1:
        raise UserError(f'{printable(value)} may be {first_names(found.values())}: write its ending')
    return next(iter(found.values()), None)
