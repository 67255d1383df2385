"""Which recipes there are, and what they say of themselves in their heads."""

import difflib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

_FIELD = re.compile(r'([A-Z]\w+): +(.+)')
_SOURCE = re.compile(r'source "\$\(dirname "[^"]+"\)/([\w.-]+)"')


@dataclass(frozen=True)
class Recipe:
    """A recipe.

    Args:
        name: Its file's name without `.sh`.
        path: The file.
        title: What it does, in a line.
        usage: Its arguments.
        fields: What else its head says: `Paper`, `Score`, `Settings`, `Hardware`, `Time` and so on.
    """

    name: str
    path: Path
    title: str
    usage: str
    fields: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> 'Recipe':
        """Read the head of a file: the comment before its first command.

        A line that begins with a name and a colon starts a field; lines that are indented under its text go on with it.
        """
        lines = []
        for line in path.read_text(encoding='utf-8').splitlines()[1:]:
            if not line.startswith('#'):
                break
            lines.append(line[1:].removeprefix(' '))
        fields: dict[str, str] = {}
        name = None
        for line in lines:
            match = _FIELD.fullmatch(line)
            if match:
                name = match[1]
                fields[name] = match[2]
            elif name and line.startswith(' ' * 10):
                fields[name] += f' {line.strip()}'
            else:
                name = None
        usage = next((line.split('.sh', 1)[1].strip() for line in lines if line.startswith('  ./train_recipes/')), '')
        return cls(path.stem, path, lines[0] if lines else '', usage, fields)

    def sourced(self) -> list[Path]:
        """The files beside it that it needs, those that these need included."""
        found: list[Path] = []
        left = [self.path]
        while left:
            path = left.pop()
            for name in _SOURCE.findall(path.read_text(encoding='utf-8')):
                other = self.path.with_name(name)
                if other not in found:
                    found.append(other)
                    left.append(other)
        return sorted(found)


def recipes_folder() -> Path:
    """Where the recipes are: in the package, or beside it in a checkout.

    Raises:
        UserError: If they are at neither place.
    """
    package = Path(__file__).parent.parent
    for folder in (package / 'train_recipes', package.parent / 'train_recipes'):
        if (folder / 'common.sh').is_file():
            return folder
    raise UserError(f'the recipes are missing from this installation of timm-vipriors ({package}): install it again')


def all_recipes() -> list[Recipe]:
    """The recipes by name, without the files that they source."""
    found = (Recipe.read(path) for path in sorted(recipes_folder().glob('*.sh')))
    return [recipe for recipe in found if 'Time' in recipe.fields]


def find_recipe(name: str) -> Recipe:
    """A recipe by its name, with or without `.sh`, or by the path of a file of one's own.

    Raises:
        UserError: If there is none.
    """
    if os.sep in name:
        if not os.path.isfile(name):
            raise UserError(f'there is no recipe {name}')
        try:
            return Recipe.read(Path(name).resolve())
        except (UnicodeDecodeError, OSError) as e:
            raise UserError(f'{name} is no recipe: {e}') from e
    recipes = {recipe.name: recipe for recipe in all_recipes()}
    stem = name.removesuffix('.sh')
    if stem in recipes:
        return recipes[stem]
    close = difflib.get_close_matches(stem, recipes, n=3)
    hint = f'did you mean {", ".join(close)}?' if close else '`timm-vipriors recipe list` shows what there is'
    raise UserError(f'there is no recipe {name!r}: {hint} (a file of your own: ./{stem}.sh)')


def copy_recipe(recipe: Recipe, folder: str | os.PathLike, force: bool = False) -> list[Path]:
    """Copy a recipe and the files that it sources, to change it.

    Args:
        recipe: The recipe.
        folder: Where to; made if it is not there.
        force: Whether files there may be written over.

    Returns:
        The files that were written; one that is there already with the same content is left as it is.

    Raises:
        UserError: If a file is there with another content, before anything is written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f'{folder} is not a folder')
    copies = {path: folder / path.name for path in (recipe.path, *recipe.sourced())}
    for path, copy in copies.items():
        if os.path.lexists(copy) and not force and not (copy.is_file() and copy.read_bytes() == path.read_bytes()):
            raise UserError(f'{copy} exists with another content: name another folder, or write over it with --force')
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path, copy in copies.items():
        if copy.is_file() and copy.read_bytes() == path.read_bytes():
            continue
        shutil.copyfile(path, copy)
        written.append(copy)
    (folder / recipe.path.name).chmod(0o755)
    return written


def bash_command(recipe: Recipe, *args: str) -> list[str]:
    """The command line of a recipe.

    Raises:
        UserError: If there is no bash.
    """
    bash = shutil.which('bash')
    if bash is None:
        raise UserError('the recipes are bash scripts, and there is no bash on this machine')
    return [bash, str(recipe.path), *args]
