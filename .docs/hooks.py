"""Pages that are written elsewhere: the README and its sisters, with their pictures, and the help of all commands."""

import argparse
import os
import posixpath
import re
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    'README.md': 'index.md',
    'train_recipes/README.md': 'recipes.md',
    'tests/benchmarks/RESULTS.md': 'measurements.md',
    'CHANGELOG.md': 'changes.md',
}
HELP = '<!-- help -->'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written elsewhere."""
    beside = set((ROOT / '.github' / 'images').glob('*.[pj][np]g'))
    for source, page in PAGES.items():
        text, linked = translated(source)
        files.append(File.generated(config, page, content=text))
        beside |= {ROOT / path for path in linked}
    for path in sorted(beside):
        files.append(File.generated(config, place(path.name), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the help of all commands where its mark is."""
    return markdown.replace(HELP, '\n'.join(help_of_commands())) if HELP in markdown else markdown


def place(name: str) -> str:
    """Where a picture, or another file that a page links to, lies in the site."""
    return f'{"images" if name.endswith((".png", ".jpg")) else "files"}/{name}'


def translated(source: str) -> tuple[str, set[str]]:
    """A page of the repository, its links those of the site, and the files that it links to."""
    linked = set()

    def link(match: re.Match) -> str:
        target, _, anchor = match[2].partition('#')
        if not target or re.match(r'\w+:', target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path not in PAGES:
            linked.add(path)
        page = PAGES.get(path) or place(posixpath.basename(path))
        return f'{match[1]}({page}{"#" if anchor else ""}{anchor})'

    return re.sub(r'(!?\[[^\]]*\])\(([^)\s]+)\)', link, (ROOT / source).read_text(encoding='utf-8')), linked


def help_of_commands() -> list[str]:
    """A section of Markdown for each command, and for each of its actions."""
    from timm_vipriors.cli import SCRIPTS, make_parser

    lines = []
    with mock.patch.dict(os.environ, COLUMNS='100'):
        for name, parser in subparsers(make_parser()).items():
            if name in SCRIPTS:
                lines += [f'## {name}', '', f'{SCRIPTS[name]}; `timm-vipriors {name} --help` lists its flags.', '']
                continue
            for title, each in ((name, parser), *((f'{name} {k}', v) for k, v in subparsers(parser).items())):
                lines += [f'{"##" if title == name else "###"} {title}', '', '```text', each.format_help(), '```', '']
    return lines


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return actions[0].choices if actions else {}
