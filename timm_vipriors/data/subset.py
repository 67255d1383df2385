"""Small class-balanced, disjoint splits of an image folder, as links or copies, with a manifest that makes them again.

The images are chosen first, so that whatever is wrong shows before anything is made. The subset is built in
`DST.partial`, where a later call resumes after an interruption, and renamed to `DST` once it is complete.
"""

import csv
import io
import os
import random
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

from ..errors import UserError
from ..files import exclusive_lock, first_names, plural, printable, progress, with_filename
from .datasets import describe_skipped, image_extensions, skipped_files

MANIFEST = 'manifest.csv'
_HEADER = ['split', 'class', 'file']

Row = tuple[str, str, str]  # split, class, file


def make_subset(
    source: str | os.PathLike,
    root: str | os.PathLike,
    splits: Mapping[str, int | float] | None = None,
    *,
    seed: int = 0,
    lists: str | os.PathLike | Mapping[str, str | os.PathLike] | None = None,
    copy: bool = False,
) -> dict[str, int]:
    """Make disjoint splits of an ImageFolder, with the same number of images of every class, or those of a list.

    Images `source/<class>/<file>` become `root/<split>/<class>/<file>`, and `root/manifest.csv` lists them. The choice:
    the names of a class are sorted, then shuffled by the seed and the class's name; the first images go to the first
    split, the next to the second and so on. So it depends on no other class and no file system, and a smaller first
    split is a part of a larger one. Nothing is overwritten, and nothing is written to the source.

    Args:
        source: The folder with a folder for each class, which holds its images directly. Hidden ones are ignored.
        root: The folder to make. It must not exist, be empty, or hold this very subset, which is then checked.
        splits: Images of each class, by the split's name: numbers, or fractions of the class as floats up to 1.0,
            rounded so that fractions that add up to 1.0 leave no image out.
        seed: Seed of the choice.
        lists: Instead of `splits` the images themselves: a manifest (CSV with the header `split,class,file`), or
            by the split's name files with the columns `class,file` or with lines `class/file`.
        copy: Copy the images instead of making symbolic links. A copy that is there counts as complete if it has the
            size of the image.

    Returns:
        The number of images by split.

    Raises:
        UserError: If the source is not an ImageFolder or has too few images, a list is wrong, the target holds anything
            else, or an argument is out of range.
        OSError: If a file cannot be read or written. `root.partial` stays, and the same call resumes there.
    """
    source, root = os.fspath(source), os.fspath(root)
    suffixes = image_extensions()
    if bool(splits) == bool(lists):
        raise UserError('say which images: how many of each class (--per-class, --splits), or --list FILE, not both')
    classes = _class_names(source)
    final = os.path.realpath(root)
    partial = f'{final}.partial'
    _check_target(root, [source, *(os.path.join(source, name) for name in classes)])
    _check_target(partial)
    try:
        if splits:
            rows = _chosen_rows(source, classes, splits, seed, suffixes)
        else:
            rows = _listed_rows(source, lists, suffixes)
        manifest = _manifest(rows)
    except UnicodeEncodeError as e:
        name = e.object[: e.end].rpartition('\n')[2]
        raise UserError(f'{name!a}: the name is not in UTF-8, which the manifest is: rename it') from None
    if not os.path.exists(os.path.join(final, MANIFEST)):
        _build(source, partial, rows, manifest, copy)
        with suppress(FileNotFoundError):
            os.rmdir(final)
        os.rename(partial, final)
    elif missing := _missing(source, root, rows, manifest, copy):
        raise UserError(f'{printable(missing[0][1])} is missing: put it back, or remove {printable(root)} first')
    return dict(Counter(split for split, _, _ in rows))


def _class_names(source: str) -> list[str]:
    if not os.path.isdir(source):
        raise UserError(f'{source!r} is not a folder that exists: expected a folder with a folder for each class')
    names = sorted(entry.name for entry in os.scandir(source) if entry.is_dir() and not entry.name.startswith('.'))
    if not names:
        raise UserError(f'{printable(source)} has no class folders: expected its images as SRC/CLASS/FILE')
    return names


def _check_target(root: str, images: Iterable[str] = ()) -> None:
    """Raise if something is there that is not a subset, or the beginning of one, or if it lies among the images."""
    for folder in images:
        paths = [os.path.realpath(folder), os.path.realpath(root)]
        if os.path.commonpath(paths) in paths:
            raise UserError(
                f'{printable(root)} and {printable(folder)} must not lie one in the other: name another one'
            )
    if os.path.lexists(root) and not os.path.isdir(root):
        raise UserError(f'{printable(root)} exists and is not a folder: name another one')
    names = os.listdir(root) if os.path.isdir(root) else []
    if names and MANIFEST not in names:
        raise UserError(f'{printable(root)} exists and is not empty: name another folder, or remove it first')


def _image_names(folder: str, suffixes: Collection[str]) -> list[str]:
    """The names of the images in a class folder, sorted."""
    names = []
    for entry in list(os.scandir(folder)):
        if entry.name.startswith('.'):
            continue
        if entry.is_dir():
            advice = 'if the classes lie in splits, name one of these as SRC'
            raise UserError(f'{printable(entry.path)} is a folder in a class folder: expected SRC/CLASS/FILE; {advice}')
        if os.path.splitext(entry.name)[1].lower() in suffixes:
            if not entry.is_file():  # left out, it would change the choice without a word
                raise UserError(f'{printable(entry.path)} is a broken link, or not a file: repair or remove it')
            names.append(entry.name)
    return sorted(names)


def _chosen_rows(
    source: str, classes: Sequence[str], splits: Mapping[str, int | float], seed: int, suffixes: Collection[str]
) -> list[Row]:
    """The rows of a random choice. It looks at all classes before it fails for those with too few images."""
    for split, number in splits.items():
        _check_names(split)
        if not (0 < number <= 1 if isinstance(number, float) else type(number) is int and number >= 1):
            raise UserError(f'the split {split!r} must have at least 1 image, or a fraction up to 1.0, got {number!r}')
    fractions = isinstance(next(iter(splits.values())), float)
    ends = list(accumulate(splits.values(), initial=0))
    if any(isinstance(n, float) != fractions for n in splits.values()) or (fractions and ends[-1] > 1 + 1e-9):
        raise UserError(f'the splits must be numbers, or fractions that add up to 100 % at most, not both: {splits}')

    rows, short = [], {}
    for name in progress(classes, len(classes), 'choosing', unit='folder'):
        images = _image_names(os.path.join(source, name), suffixes)
        # fractions end at rounded places, so that no image is lost or taken twice
        places = [round(end * len(images)) for end in ends] if fractions else ends
        if places[-1] > len(images) or len(set(places)) < len(places):
            short[name] = len(images)
            continue
        random.Random(f'{seed}/{name}').shuffle(images)
        for split, (start, end) in zip(splits, pairwise(places), strict=True):
            rows += ((split, name, file) for file in images[start:end])
    if short:
        least = 'one image in each split' if fractions else f'the {plural(ends[-1], "image")} needed'
        wanted = ' + '.join(f'{n:.0%} for {split}' if fractions else f'{n} for {split}' for split, n in splits.items())
        skipped = skipped_files(source)
        raise UserError(
            f'{len(short)} of {len(classes)} classes in {printable(source)} have fewer than {least} ({wanted}): '
            f'{first_names(f"{name!r} has {count}" for name, count in short.items())}. Use smaller numbers '
            f'(--per-class, --splits), or remove these folders{f"; {describe_skipped(skipped)}" if skipped else ""}'
        )
    return rows


def _listed_rows(
    source: str, lists: str | os.PathLike | Mapping[str, str | os.PathLike], suffixes: Collection[str]
) -> list[Row]:
    """The rows of lists, which may come from anyone: by class, in it by split, in it as they are listed."""
    split_of: dict[tuple[str, str], str] = {}  # by class and file
    for split, path in lists.items() if isinstance(lists, Mapping) else [(None, lists)]:
        if not os.path.exists(path):
            raise UserError(f'the list {printable(path)} does not exist')
        header, before = _HEADER if split is None else _HEADER[1:], len(split_of)
        with open(path, encoding='utf-8-sig', newline='') as file:
            lines = csv.reader(file, strict=True)
            try:
                for number, cells in enumerate(filter(None, lines)):  # without blank lines
                    if number == 0 and (cells == header or split is None):
                        if cells != header:
                            raise UserError(f'got the header {",".join(cells)!r:.80}')
                    elif split is None:
                        _add_row(split_of, source, cells, suffixes)
                    else:
                        _add_row(split_of, source, [split, *'/'.join(cells).split('/', 1)], suffixes)
            except (UnicodeDecodeError, csv.Error, UserError) as e:
                form = f'expected CSV in UTF-8 with {",".join(header)}; a {"list" if split is None else "manifest"} '
                form += 'of one split is given as SPLIT=FILE' if split is None else 'is given without SPLIT='
                raise UserError(f'{printable(path)}, line {lines.line_num}: {e} ({form})') from None
        if len(split_of) == before:
            raise UserError(f'the list {printable(path)} has no rows')
    rows = [(split, name, file) for (name, file), split in split_of.items()]
    first = {row[:2]: number for number, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: (row[1], first[row[:2]]))


def _add_row(split_of: dict[tuple[str, str], str], source: str, cells: list[str], suffixes: Collection[str]) -> None:
    if len(cells) != len(_HEADER):
        raise UserError(f'got {",".join(cells)!r:.80}')
    split, name, file = cells
    file = file.removeprefix(f'{name}/')
    _check_names(split, name, file)
    image = os.path.join(source, name, file)
    if not os.path.isfile(image):
        raise UserError(f'there is no file {printable(image)}')
    if os.path.splitext(file)[1].lower() not in suffixes:
        raise UserError(f'{printable(image)} is not an image by its ending')
    if (name, file) in split_of:
        raise UserError(f'{f"{name}/{file}"!r} is listed twice, for {split!r} after {split_of[name, file]!r}')
    split_of[name, file] = split


def _check_names(split: str, *others: str) -> None:
    """Raise if a split, or a class or file, is not the name of a visible entry of a folder."""
    names = split, *others
    plain = (0 < len(n) < 256 and n == os.path.basename(n) and n[0] != '.' and '\0' not in n for n in names)
    if not all(plain) or '\\' in split or split.lower() == MANIFEST:
        raise UserError(f'expected plain names, not hidden, without folders, got {", ".join(map(repr, names))}')


def _manifest(rows: Iterable[Row]) -> bytes:
    text = io.StringIO(newline='')
    for row in (_HEADER, *rows):
        # before Python 3.13 the csv module does not quote a carriage return
        quoting = csv.QUOTE_ALL if '\r' in ''.join(row) else csv.QUOTE_MINIMAL
        csv.writer(text, lineterminator='\n', quoting=quoting).writerow(row)
    return text.getvalue().encode()


def _build(source: str, partial: str, rows: Sequence[Row], manifest: bytes, copy: bool) -> None:
    """Make the images that a folder lacks; a copy gets its name when it is complete."""
    os.makedirs(partial, exist_ok=True)
    temporary = os.path.join(partial, '.copy')
    with exclusive_lock(os.path.join(partial, MANIFEST)) as file:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        missing = _missing(source, partial, rows, manifest, copy)
        with with_filename(file.name):
            file.truncate(0)
            file.write(manifest)
            file.flush()
        for split, name in dict.fromkeys(row[:2] for row in rows):
            os.makedirs(os.path.join(partial, split, name), exist_ok=True)
        for image, entry in progress(missing, len(missing), 'copying' if copy else 'linking'):
            if copy:
                shutil.copy2(image, temporary)
                os.replace(temporary, entry)
                continue
            try:
                os.symlink(image, entry)
            except PermissionError as e:
                raise UserError(f'{printable(entry)}: this file system has no symbolic links, use --copy') from e


def _missing(source: str, folder: str, rows: Iterable[Row], manifest: bytes, copy: bool) -> list[tuple[str, str]]:
    """The images that a subset lacks, with their places; a UserError if it holds anything else.

    The images are absolute paths and not links themselves, so that links to them stay right.
    """
    path = os.path.join(folder, MANIFEST)
    written = b'' if os.path.islink(path) else Path(path).read_bytes()
    interrupted = os.listdir(folder) == [MANIFEST] and not os.path.islink(path) and manifest.startswith(written)
    if written != manifest and not interrupted:
        raise UserError(
            f'{printable(path)} is that of another subset (other numbers, seed, list or images): name another folder, '
            f'or remove {printable(folder)} first'
        )
    expected = {(MANIFEST,), *(row[:depth] for row in rows for depth in (1, 2, 3))}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            entry = os.path.join(parent, name)
            parts = tuple(os.path.relpath(entry, folder).split(os.sep))
            # what is written to a link to a folder would go elsewhere
            if parts not in expected or (len(parts) < 3 and os.path.islink(entry)):
                raise UserError(f'{printable(entry)} does not belong to the subset: remove it, or name another folder')
    missing, real_path = [], cache(os.path.realpath)
    for split, name, file in rows:
        image, entry = (
            os.path.join(real_path(os.path.join(source, name)), file),
            os.path.join(folder, split, name, file),
        )
        image = os.path.realpath(image) if os.path.islink(image) else image
        is_link = os.path.islink(entry)
        if not os.path.lexists(entry):
            missing.append((image, entry))
        elif copy == is_link or (
            os.readlink(entry) != image if is_link else os.path.getsize(entry) != os.path.getsize(image)
        ):
            raise UserError(
                f'{printable(entry)} exists and is not a {"copy of" if copy else "link to"} {printable(image)} (--link '
                f'and --copy do not mix): name another folder, or remove this one first'
            )
    return missing
