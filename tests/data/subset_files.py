"""Folders of small files for the tests of subsets, and what lies in a folder afterwards."""

import csv
import os
from pathlib import Path

CLASSES = ['c0', 'c1', 'c10', 'c2']
SPLITS = {'train': 3, 'val': 2}


def write_images(root: Path, names: dict[str, list[str]]) -> Path:
    """Files that are no images, which nothing here opens: each has its own content and length."""
    for label, files in names.items():
        (root / label).mkdir(parents=True)
        for i, file in enumerate(files):
            (root / label / file).write_bytes(os.fsencode(f'{label}/{file}') + b'.' * i)
    return root


def tree(root: Path) -> dict[str, tuple]:
    """All that lies in a folder, and what it is."""
    found = {}
    for path in root.rglob('*'):
        kind = ('link', os.readlink(path)) if path.is_symlink() else ('folder',)
        found[str(path.relative_to(root))] = kind if path.is_symlink() or path.is_dir() else ('file', path.read_bytes())
    return found


def rows(root: Path) -> list[tuple[str, str, str]]:
    with open(root / 'manifest.csv', encoding='utf-8', newline='') as file:
        header, *lines = csv.reader(file)
    assert header == ['split', 'class', 'file']
    return [tuple(line) for line in lines]
