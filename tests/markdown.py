"""What the tests of README and guides look for in a page."""

import argparse
import os
import re
import shlex

from timm_vipriors.cli import SCRIPTS, make_parser

from .conftest import ROOT


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL)


def command_lines(text: str) -> list[list[str]]:
    """The words of all commands in a text: the lines of its shell blocks, and those after a `$`."""
    block = '\n'.join([*code_blocks(text, 'sh'), *re.findall(r'^\$ ((?:.*\\\n)*.*)', text, re.MULTILINE)])
    return [words for line in block.replace('\\\n', '').splitlines() if (words := shlex.split(line, comments=True))]


def check_command(words: list[str]) -> None:
    """Assert that a command exists, with its flags."""
    for word in words:
        assert not word.startswith('./') or os.access(ROOT / word, os.X_OK), word
    if words[0] == 'timm-vipriors' and words[1] not in SCRIPTS:
        args, others = make_parser().parse_known_args(words[1:])
        assert not others or hasattr(args, 'other_flags'), words


def check_links(text: str, folder: os.PathLike) -> int:
    """Assert that the relative links of a page lead to files and headings. Returns how many there are."""
    prose = re.sub(r'```.*?```', '', text, flags=re.DOTALL)
    links = [link for link in re.findall(r'\]\(([^)]*)\)', prose) if not link.startswith('https://')]
    for link in links:
        path, _, anchor = link.partition('#')
        target = (folder / path).resolve()
        assert target.is_file() or not path, link
        assert not anchor or anchor in anchors(target.read_text() if path else text), link
    return len(links)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r'^#+ (.*)$', re.sub(r'```.*?```', '', text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def subparser(name: str) -> argparse.ArgumentParser:
    (choices,) = (a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return choices[name]
