"""How every command prints its help."""

import argparse
import re
import textwrap
from collections.abc import Sequence
from typing import Any


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps paragraphs to the terminal, leaves lines such as examples as they are, and tells every default once.

    A paragraph with an indented line is left alone. A default is told where it says something (not for None, a switch
    or an empty value) and the help text does not speak of it.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip('\n').split('\n\n')
        return '\n\n'.join(
            p if re.search(r'^\s', p, re.MULTILINE) else '\n'.join(self._split_lines(p, width)) for p in paragraphs
        )

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(' '.join(text.split()), width, break_on_hyphens=False)  # a flag stays whole

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        for command in self._iter_indented_subactions(action):  # argparse forgets their indent
            length = len(self._format_action_invocation(command)) + self._current_indent
            self._action_max_length = max(self._action_max_length, length)

    def _get_help_string(self, action: argparse.Action) -> str:
        default = default_text(action)
        if default is None or 'default' in action.help.lower():
            return action.help
        return f'{action.help} (default: {default.replace("%", "%%")})'


def default_text(action: argparse.Action) -> str | None:
    """The default of an argument that takes a value, as it is typed; None where there is none worth telling."""
    default: Any = action.default
    if action.nargs == 0 or default is None or default is False or default in ('', argparse.SUPPRESS, [], (), {}):
        return None
    if isinstance(default, (list, tuple)):
        return ' '.join(f'{value:g}' if isinstance(value, float) else str(value) for value in default)
    return str(default)


def make_epilog(examples: Sequence[str], notes: str = '') -> str:
    """The end of a help text: examples, one that is too long with a second, indented line, and notes under them."""
    lines = '\n'.join(examples).splitlines()
    return '\n'.join(['examples:', *(f'  {line}' for line in lines), '', notes])
