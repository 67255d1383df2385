"""How every command prints its help."""

import argparse
import re
import textwrap
from collections.abc import Sequence
from typing import Any


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """argparse's own with defaults, none of them empty; a paragraph with an indented line stays as it is."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, **kwargs)
        self._action_max_length = self._max_help_position  # argparse forgets the indent of subcommands

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip('\n').split('\n\n')
        return '\n\n'.join(
            p if re.search(r'^\s', p, re.M) else '\n'.join(self._split_lines(p, width)) for p in paragraphs
        )

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(' '.join(text.split()), width, break_on_hyphens=False)  # a flag stays whole

    def _get_help_string(self, action: argparse.Action) -> str | None:
        empty = action.default is False or action.default in (None, '', [], (), {})
        return action.help if empty or 'default' in action.help else super()._get_help_string(action)


def make_epilog(examples: Sequence[str], notes: str = '') -> str:
    """The end of a help text: examples, a long one with a second, indented line, and notes under them."""
    return f'examples:\n{textwrap.indent(chr(10).join(examples), "  ")}\n\n{notes}'
