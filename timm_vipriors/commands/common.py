"""What several subcommands need."""

import os
from pathlib import Path

from ..errors import UserError


def check_free(path: str, force: bool) -> None:
    """Raise if a file to write exists, unless it is to be written over."""
    if os.path.exists(path) and not force:
        raise UserError(f'{path} exists: name another file, or write over it with --force')


def read_class_names(path: str) -> list[str]:
    """The lines of a file, or the classes of a data folder in timm's order."""
    if os.path.isdir(path):
        from ..scripts.image_folders import find_images

        return list(find_images(path, 'train', '').class_to_idx)
    lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    return [line.strip() for line in lines if line.strip()]
