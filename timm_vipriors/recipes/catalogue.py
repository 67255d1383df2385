"""Which recipes there are, and what their heads say."""

import difflib
import math
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError


@dataclass(frozen=True)
class Recipe:
    """A recipe, as the comment at the head of its file describes it.

    Example:
        >>> recipe = find_recipe('dsk_resnext50_32x4d')
        >>> recipe.fields['Compare'], recipe.score()
        ('sk_resnext50_32x4d', 55.97)
    """

    name: str  # that of its file without `.sh`
    path: Path
    title: str  # what it does, in a line
    usage: str  # its arguments
    fields: dict[str, str]  # what else the head says: `Paper`, `Score`, `Settings`, `Hardware`, `Time` and so on

    @classmethod
    def read(cls, path: Path) -> 'Recipe':
        """Read the head of a file. A name and a colon begin a field; lines indented below continue it."""
        head = re.match(r'(?:#!.*\n)?((?:#.*\n)*)', path.read_text(encoding='utf-8'))[1]
        usage = re.search(r'^#   \./train_recipes/\S+\.sh ?(.*)$', head, re.MULTILINE)
        fields = re.findall(r'^# ([A-Z]\w+): +(.+(?:\n# {11}.+)*)', head, re.MULTILINE)
        return cls(
            name=path.stem,
            path=path,
            title=head.partition('\n')[0].removeprefix('# '),
            usage=usage[1] if usage else '',
            fields={name: re.sub(r'\n# +', ' ', text) for name, text in fields},
        )

    def sourced(self) -> list[Path]:
        """The files beside it that it sources, directly or through another."""
        found, left = set(), [self.path]
        while left:
            names = re.findall(r'source "\$\(dirname "[^"]+"\)/([\w.-]+)"', left.pop().read_text(encoding='utf-8'))
            new = {self.path.with_name(name) for name in names} - found
            found |= new
            left += new
        return sorted(found)

    def score(self, row: str = '') -> float:
        """The paper's top-1 accuracy in percent, of one row where there are several; nan if the paper has none."""
        pattern = rf'(?<![\w.-]){re.escape(row)}: ([\d.]+)' if row else r'^([\d.]+)'
        match = re.search(pattern, self.fields.get('Score', ''))
        return float(match[1]) if match else math.nan

    def command(self, *args: str) -> list[str]:
        """The command line that runs it."""
        bash = shutil.which('bash')
        if bash is None:
            raise UserError('the recipes are bash scripts, and there is no bash on this machine')
        return [bash, str(self.path), *args]


def recipes_folder() -> Path:
    """Where the recipes are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    for folder in (package / 'train_recipes', package.parent / 'train_recipes'):
        if (folder / 'common.sh').is_file():
            return folder
    raise UserError(f'the recipes are missing from this installation of timm-vipriors ({package}): install it again')


def all_recipes() -> list[Recipe]:
    """The recipes by name, without the files that they source."""
    found = (Recipe.read(path) for path in sorted(recipes_folder().glob('*.sh')))
    return [recipe for recipe in found if recipe.usage]


def find_recipe(name: str) -> Recipe:
    """A recipe by its name, with or without `.sh`, or by the path of a file of your own; a UserError without one."""
    if os.sep in name:
        try:
            return Recipe.read(Path(name).resolve(strict=True))
        except (UnicodeDecodeError, OSError) as e:
            raise UserError(f'there is no recipe {name}: {e}') from e
    recipes = {recipe.name: recipe for recipe in all_recipes()}
    stem = name.removesuffix('.sh')
    if stem in recipes:
        return recipes[stem]
    close = difflib.get_close_matches(stem, recipes, n=3)
    hint = f'did you mean {", ".join(close)}?' if close else '`timm-vipriors recipe list` shows what there is'
    raise UserError(f'there is no recipe {name!r}: {hint} (a file of your own: ./{stem}.sh)')


def copy_recipe(recipe: Recipe, folder: str | os.PathLike, force: bool = False) -> list[Path]:
    """Copy a recipe and the files that it sources into a folder, and return the files that were written.

    A file that is there with the same content is left alone.

    Raises:
        UserError: If one is there with other content and not `force`, before anything is written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    copies = {folder / path.name: path.read_bytes() for path in (recipe.path, *recipe.sourced())}
    missing = {copy: text for copy, text in copies.items() if not copy.is_file() or copy.read_bytes() != text}
    for copy in missing:
        if os.path.lexists(copy) and not force:
            raise UserError(f'{copy} exists with other content: name another folder, or overwrite it with --force')
    for copy, text in missing.items():
        copy.write_bytes(text)
    (folder / recipe.path.name).chmod(0o755)
    return list(missing)
