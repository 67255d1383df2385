"""What a shell may offer where a command line goes on, by argcomplete."""

import os
from argparse import ArgumentParser
from collections.abc import Callable


def complete(make_parser: Callable[[], ArgumentParser], scripts: dict[str, str]) -> int:
    """Answer a shell that asks by argcomplete's variables. Ends the process where argcomplete is there.

    Args:
        make_parser: Makes the parser of all commands but the scripts.
        scripts: The commands that are scripts.
    """
    try:
        import argcomplete
    except ImportError:
        return 1  # no completions
    start = int(os.environ['_ARGCOMPLETE'])
    words = os.environ['COMP_LINE'][: int(os.environ['COMP_POINT'])].split()
    command = words[start] if len(words) > start else ''
    if command in scripts and not os.environ['COMP_LINE'].endswith(command):
        from .commands.common import complete_model
        from .scripts.runner import prepare_script

        parser = prepare_script(command).parser
        next(action for action in parser._actions if action.dest == 'model').completer = complete_model
        os.environ['_ARGCOMPLETE'] = str(start + 1)  # the program's name has two words
    else:
        parser = make_parser()
    argcomplete.autocomplete(parser)
    return 0
