"""What several subcommands need."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..help_formatter import HelpFormatter, make_epilog


def add_parser(
    commands: argparse._SubParsersAction,
    name: str,
    *,
    help: str,
    description: str,
    examples: Sequence[str],
    notes: str = '',
    **kwargs: Any,
) -> argparse.ArgumentParser:
    """Add the parser of a command.

    Args:
        commands: What it is added to.
        name: Its name.
        help: What it does, for the list of the commands.
        description: What it does, in sentences.
        examples: Command lines; one that is too long goes on in a line that is indented.
        notes: What else there is to know; stands under the examples.
        **kwargs: More for the parser.
    """
    return commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=make_epilog(examples, notes),
        formatter_class=HelpFormatter,
        **kwargs,
    )


def check_free(path: str, force: bool) -> None:
    """Raise if a file to write exists, unless it is to be written over."""
    if not path:
        raise UserError('the name of the file to write is empty')
    if os.path.exists(path) and not os.path.isfile(path):
        what = 'is a folder' if os.path.isdir(path) else 'is there and is no file'
        raise UserError(f'{path} {what}: name a file to write')
    if os.path.lexists(path) and not force:  # a link that leads nowhere, too
        raise UserError(f'{path} exists: name another file, or write over it with --force')


def read_class_names(path: str) -> list[str]:
    """The lines of a file, or the classes of a data folder in timm's order."""
    if os.path.isdir(path):
        from ..scripts.image_folders import find_images

        classes = find_images(path, 'train', '').class_to_idx
        if '' in classes:  # images lie in its `train`, which is a class then: the folder itself holds the classes
            classes = find_images(path, '', '').class_to_idx
        return list(classes)
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except (ValueError, OSError) as e:
        raise UserError(f'the class names cannot be read from {path}: {e}') from e
    return [line.strip() for line in lines if line.strip()]


def complete_recipe(prefix: str, **kwargs: Any) -> list[str]:
    """The recipes whose names begin so, for the shell's completion."""
    from ..recipes import all_recipes

    return [recipe.name for recipe in all_recipes() if recipe.name.startswith(prefix)]


def complete_model(prefix: str, **kwargs: Any) -> list[str]:
    """timm's models and ours whose names begin so, for the shell's completion."""
    import timm

    from .. import models  # noqa: F401  registers ours

    return timm.list_models(f'{prefix}*')
