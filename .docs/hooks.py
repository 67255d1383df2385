"""Links of the guides and of pages that are written elsewhere, such as the README, and the help of all commands."""

import argparse
import contextlib
import io
import os
import posixpath
import re
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# page of the site → its source in the repository
SOURCES = {path.name: f'.docs/pages/{path.name}' for path in (ROOT / '.docs' / 'pages').glob('*.md')} | {
    'index.md': 'README.md',
    'recipes.md': 'train_recipes/README.md',
    'measurements.md': 'tests/benchmarks/RESULTS.md',
    'changes.md': 'CHANGELOG.md',
}
PAGES = {source: page for page, source in SOURCES.items()}
HELP = '<!-- help -->'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that lie elsewhere, and translate the links of all."""
    linked = set()
    for page, source in SOURCES.items():
        text, others = translate(source)
        linked |= others
        if old := files.get_file_from_path(page):
            files.remove(old)
        files.append(File.generated(config, page, content=text))
    for path in sorted(linked):
        files.append(File.generated(config, place(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the help of all commands where its mark is."""
    return markdown.replace(HELP, '\n'.join(help_of_commands())) if HELP in markdown else markdown


def place(path: str) -> str:
    """Where a picture, or another file that a page links to, lies in the site."""
    return f'{"images" if path.endswith((".png", ".jpg")) else "files"}/{posixpath.basename(path)}'


def translate(source: str) -> tuple[str, set[str]]:
    """A page of the repository, its links those of the site, and the files that it links to."""
    linked = set()

    def link(match: re.Match) -> str:
        target, _, anchor = match[2].partition('#')
        if not target or re.match(r'\w+:', target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path.startswith('.docs/pages/'):  # a guide, or a page of the reference
            page = path.removeprefix('.docs/pages/')
        elif path in PAGES:
            page = PAGES[path]
        else:
            linked.add(path)
            page = place(path)
        return f'{match[1]}({page}{"#" if anchor else ""}{anchor})'

    return re.sub(r'(!?\[[^\]]*\])\(([^)\s]+)\)', link, (ROOT / source).read_text(encoding='utf-8')), linked


def help_of_commands() -> list[str]:
    """A section of Markdown for each command, and for each of its actions."""
    from timm_vipriors.cli import SCRIPTS, main, make_parser

    lines = []
    with mock.patch.dict(os.environ, COLUMNS='100'):
        os.environ.pop('TIMM_SCRIPTS', None)  # the bundled scripts' flags, which timm's own have too
        for name, parser in subparsers(make_parser()).items():
            texts = {name: parser.format_help()}
            if name in SCRIPTS:
                with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
                    main([name, '--help'])
                texts = {name: out.getvalue()}
            texts |= {f'{name} {action}': each.format_help() for action, each in subparsers(parser).items()}
            for title, text in texts.items():
                lines += [f'{"##" if title == name else "###"} {title}', '', '```text', text, '```', '']
    return lines


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return actions[0].choices if actions else {}
