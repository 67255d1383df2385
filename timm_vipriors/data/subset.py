"""Small class-balanced, disjoint splits of image folders, as links or copies, with a manifest that makes them again.

The images are chosen first, so that whatever is wrong shows before anything is made. The subset is built in
`DST.partial`, where a later call resumes after an interruption, and renamed to `DST` once it is complete.
"""

import csv
import io
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path

from ..errors import UserError
from ..files import exclusive_lock, first_names, plural, printable, progress, with_filename
from .sources import ImageSource, folder_source

MANIFEST = 'manifest.csv'
_HEADER = ['split', 'class', 'file']

Row = tuple[str, str, str]  # split, class, file


def make_subset(
    source: str | os.PathLike | Sequence[str | os.PathLike] | ImageSource,
    root: str | os.PathLike,
    splits: Mapping[str, int | float] | None = None,
    *,
    seed: int = 0,
    lists: str | os.PathLike | Mapping[str, str | os.PathLike] | None = None,
    reserve: float | None = None,
    copy: bool = False,
) -> dict[str, int]:
    """Make disjoint splits of an image folder, with the same number of images of every class, or those of a list.

    Images `source/<class>/<file>` become `root/<split>/<class>/<file>`, and `root/manifest.csv` lists them. The choice:
    the names of a class are sorted, then shuffled by the seed and the class's name; the first images go to the first
    split, the next to the second and so on. So it depends on no other class and no file system, and a smaller first
    split is a part of a larger one. Nothing is overwritten, and nothing is written to the source.

    Args:
        source: The folder with a folder for each class, which holds its images directly; several, which are merged as
            `folder_source` says; or an `ImageSource`, as `csv_source` and `timm_source` make it too, whose `notes` then
            say what was left out.
        root: The folder to make. It must not exist, be empty, or hold this very subset, which is then checked.
        splits: Images of each class, by the split's name: numbers, or fractions of the class as floats up to 1.0,
            rounded so that each split has an image and fractions that add up to 1.0 leave none out.
        seed: Seed of the choice.
        lists: Instead of `splits` the images themselves: a manifest (CSV with the header `split,class,file`), or
            by the split's name files with the columns `class,file` or with lines `class/file`.
        reserve: Instead of `splits` the part of each class of the last of several folders that becomes the split
            `validation`, at least one image; all others become the split `train`.
        copy: Copy the images instead of making symbolic links. A copy that is there counts as complete if it has the
            size of the image.

    Returns:
        The number of images by split.

    Raises:
        UserError: If the source has no class folders or too few images, a list is wrong, the target holds anything
            else, or an argument is out of range.
        OSError: If a file cannot be read or written. `root.partial` stays, and the same call resumes there.

    Examples:
        >>> import tempfile
        >>> from timm_vipriors.data.demo import make_demo_data
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = make_demo_data(f'{folder}/digits')
        ...     make_subset(f'{folder}/digits/train', f'{folder}/data', {'train': 0.8, 'validation': 0.2})
        {'train': 400, 'validation': 100}
    """
    root = os.fspath(root)
    if [bool(splits), bool(lists), reserve is not None].count(True) != 1:
        raise UserError('say which images: one of --splits (or --per-class), --list FILE and --reserve N%')
    final = os.path.realpath(root)
    for target in (root, f'{final}.partial'):
        _check_target(target)
    if not isinstance(source, ImageSource):
        folders = [source] if isinstance(source, str | os.PathLike) else source
        source = folder_source(*folders, repeated=bool(lists))
    for folder in source.folders:
        paths = [os.path.realpath(folder), final]
        if os.path.commonpath(paths) in paths:
            raise UserError(
                f'{printable(root)} and {printable(folder)} must not lie one in the other: name another one'
            )
    try:
        if reserve is not None:
            rows = _reserved_rows(source, reserve, seed)
        else:
            rows = _chosen_rows(source, splits, seed) if splits else _listed_rows(source, lists)
        manifest = _manifest(rows)
    except UnicodeEncodeError as e:
        name = e.object[: e.end].rpartition('\n')[2]
        raise UserError(f'{name!a}: the name is not in UTF-8, which the manifest is: rename it') from None
    files = () if source.read else [source.images[name][file] for _, name, file in rows]
    if empty := [file for file in files if not os.path.getsize(file)]:
        raise UserError(f'{plural(len(empty), "image")} of 0 bytes: {first_names(empty)}: replace or remove them')
    built = not os.path.exists(os.path.join(final, MANIFEST)) and _build(source, final, rows, manifest, copy)
    if not built and (missing := _missing(source, root, rows, manifest, copy, whole=True)):
        raise UserError(f'{printable(missing[0][1])} is missing: put it back, or remove {printable(root)} first')
    return dict(Counter(split for split, _, _ in rows))


def _check_target(root: str) -> None:
    """Raise if something is there that is not a subset, or the beginning of one."""
    if os.path.lexists(root) and not os.path.isdir(root):
        raise UserError(f'{printable(root)} exists and is not a folder: name another one')
    if os.path.isdir(root) and (names := os.listdir(root)) and MANIFEST not in names:
        raise UserError(f'{printable(root)} exists and is not empty: name another folder, or remove it first')


def _chosen_rows(source: ImageSource, splits: Mapping[str, int | float], seed: int) -> list[Row]:
    """The rows of a random choice. It looks at all classes before it fails for those with too few images."""
    for split, number in splits.items():
        _check_split(split)
        if not (0 < number <= 1 if isinstance(number, float) else type(number) is int and number >= 1):
            raise UserError(f'the split {split!r} must have at least 1 image, or a fraction up to 1.0, got {number!r}')
    fractions = isinstance(next(iter(splits.values())), float)
    total = sum(splits.values())
    if any(isinstance(n, float) != fractions for n in splits.values()) or (fractions and total > 1 + 1e-9):
        raise UserError(f'the splits must be numbers, or fractions that add up to 100 % at most, not both: {splits}')

    least = len(splits) if fractions else total
    short = [f'{name!r} has {len(images)}' for name, images in source.images.items() if len(images) < least]
    if short:
        needed = ' + '.join(f'{n:.0%} for {split}' if fractions else f'{n} for {split}' for split, n in splits.items())
        raise UserError(
            f'{len(short)} of {len(source.images)} classes in {source.name} have fewer than the '
            f'{plural(least, "image")} needed ({"one in each split: " if fractions else ""}{needed}): '
            f'{first_names(short)}. {"Add images" if fractions else "Use smaller numbers (--per-class, --splits)"}, or '
            f'remove these folders{"".join(f"; {note}" for note in source.notes)}'
        )
    rows = []
    for name, images in source.images.items():
        files = sorted(images)
        random.Random(f'{seed}/{name}').shuffle(files)
        for split, (start, end) in zip(splits, pairwise(_places(splits, len(files))), strict=True):
            rows += ((split, name, file) for file in files[start:end])
    return rows


def _reserved_rows(source: ImageSource, reserve: float, seed: int) -> list[Row]:
    """The rows that keep a part of the last folder for validation."""
    if not 0 < reserve < 1:
        raise UserError(f'expected a part to reserve above 0 and below 100 %, got {reserve:.0%}')
    if lacking := [name for name, images in source.images.items() if not source.last[name] or len(images) < 2]:
        raise UserError(f'{source.name}: the last folder has no image to reserve of {first_names(lacking)}')
    rows = []
    for name, images in source.images.items():
        last = sorted(source.last[name])
        kept = random.Random(f'{seed}/{name}').sample(last, max(1, round(reserve * len(last))))
        rows += (('train', name, file) for file in sorted(set(images) - set(kept)))
        rows += (('validation', name, file) for file in kept)
    return rows


def _places(splits: Mapping[str, int | float], images: int) -> list[int]:
    """Where the splits begin and end in a class. Fractions end at rounded places, so that no image is lost or twice."""
    ends = list(accumulate(splits.values(), initial=0))
    places = [0]
    for left, end in zip(reversed(range(len(splits))), ends[1:], strict=True):
        rounded = round(end * images) if isinstance(end, float) else end
        places.append(min(max(rounded, places[-1] + 1), images - left))  # at least one image for each
    return places


def _listed_rows(source: ImageSource, lists: str | os.PathLike | Mapping[str, str | os.PathLike]) -> list[Row]:
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
                    if number == 0 and split is None and cells != header:
                        raise UserError(f'got the header {",".join(cells)!r:.80}')
                    if number or cells != header:
                        _add_row(split_of, source, cells if split is None else [split, *'/'.join(cells).split('/', 1)])
            except (UnicodeDecodeError, csv.Error, UserError) as e:
                form = f'expected CSV in UTF-8 with {",".join(header)}; a {"list" if split is None else "manifest"} '
                form += 'of one split is given as SPLIT=FILE' if split is None else 'is given without SPLIT='
                raise UserError(f'{printable(path)}, line {lines.line_num}: {e} ({form})') from None
        if len(split_of) == before:
            raise UserError(f'the list {printable(path)} has no rows')
    rows = [(split, name, file) for (name, file), split in split_of.items()]
    first = {row[:2]: number for number, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: (row[1], first[row[:2]]))


def _add_row(split_of: dict[tuple[str, str], str], source: ImageSource, cells: list[str]) -> None:
    if len(cells) != len(_HEADER):
        raise UserError(f'got {",".join(cells)!r:.80}')
    split, name, file = cells
    file = file.removeprefix(f'{name}/')
    _check_split(split)
    if file not in source.images.get(name, ()):
        raise UserError(f'there is no image {f"{name}/{file}"!r:.300} in {source.name}')
    if (name, file) in split_of:
        raise UserError(f'{f"{name}/{file}"!r} is listed twice, for {split!r} after {split_of[name, file]!r}')
    split_of[name, file] = split


def _check_split(name: str) -> None:
    """Raise if it is not the name of a visible folder."""
    plain = 0 < len(name) < 256 and name == os.path.basename(name) and name[0] != '.' and not {'\0', '\\'} & set(name)
    if not plain or name.lower() == MANIFEST:
        raise UserError(f'expected a plain name of a split, not hidden, without folders, got {name!r}')


def _manifest(rows: Iterable[Row]) -> bytes:
    text = io.StringIO(newline='')
    for row in (_HEADER, *rows):
        # before Python 3.13 the csv module does not quote a carriage return
        quoting = csv.QUOTE_ALL if '\r' in ''.join(row) else csv.QUOTE_MINIMAL
        csv.writer(text, lineterminator='\n', quoting=quoting).writerow(row)
    return text.getvalue().encode()


def _build(source: ImageSource, final: str, rows: Sequence[Row], manifest: bytes, copy: bool) -> bool:
    """Make the images that `final.partial` lacks, and rename it; False if another process did that meanwhile."""
    partial = f'{final}.partial'
    os.makedirs(partial, exist_ok=True)
    temporary = os.path.join(partial, '.copy')
    with exclusive_lock(os.path.join(partial, MANIFEST)) as file:
        if os.path.exists(os.path.join(final, MANIFEST)):
            with suppress(OSError):  # of the folder that was just made
                os.unlink(file.name)
                os.rmdir(partial)
            return False
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        missing = sorted(_missing(source, partial, rows, manifest, copy))  # as `read` needs it
        with with_filename(file.name):
            file.truncate(0)
            file.write(manifest)
            file.flush()
        for folder in {os.path.dirname(entry) for _, entry in missing}:
            os.makedirs(folder, exist_ok=True)
        pictures = source.read([image for image, _ in missing]) if source.read else None
        for image, entry in progress(missing, len(missing), 'copying' if copy or pictures else 'linking'):
            if not pictures and not copy:
                try:
                    os.symlink(image, entry)
                except PermissionError as e:
                    raise UserError(f'{printable(entry)}: this file system has no symbolic links, use --copy') from e
                continue
            next(pictures).save(temporary, 'PNG') if pictures else shutil.copy2(image, temporary)
            os.replace(temporary, entry)
        os.rename(partial, final)
    return True


def _missing(
    source: ImageSource, folder: str, rows: Iterable[Row], manifest: bytes, copy: bool, whole: bool = False
) -> list[tuple[str, str]]:
    """The images that a subset, or the beginning of one, lacks, with their places; a UserError for anything else."""
    path = os.path.join(folder, MANIFEST)
    written = Path(path).read_bytes()
    if not (written == manifest if whole else manifest.startswith(written)):
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
    missing = []
    for split, name, file in rows:
        image, entry = source.images[name][file], os.path.join(folder, split, name, file)
        if not os.path.lexists(entry):
            missing.append((image, entry))
        elif source.read is None:
            made = os.readlink(entry) if os.path.islink(entry) else os.path.getsize(entry)
            if made != (os.path.getsize(image) if copy else image):
                raise UserError(
                    f'{printable(entry)} exists and is not a {"copy of" if copy else "link to"} {printable(image)} '
                    f'(--link and --copy do not mix): name another folder, or remove this one first'
                )
    return missing
