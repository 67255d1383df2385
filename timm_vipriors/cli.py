"""The command `timm-vipriors`."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from . import __version__
from .commands import ablation, demo_data, doctor, ensemble, hierarchy, predict, recipe, report, run, subset, suggest
from .errors import UserError, user_errors
from .files import printable
from .help_formatter import HelpFormatter, make_epilog

SCRIPTS = {
    'train': "train a model: timm's train.py, or the bundled one, with --criterion",
    'validate': "measure a model: timm's validate.py, or the bundled one",
}

_EXAMPLES = [
    'timm-vipriors demo-data digits',
    'timm-vipriors suggest digits --run',
    'timm-vipriors train digits --model test_dsk_resnext --img-size 32 \\\n'
    '    --batch-size 50 --criterion focal-cosine',
    'timm-vipriors predict digits --checkpoint output/train/RUN -o scores.npz',
    'timm-vipriors report output/train/RUN scores.npz',
    'timm-vipriors doctor',
]
_NOTES = """Completion for bash, zsh or tcsh, with shtab (pip install shtab):
  shtab --shell=bash timm_vipriors.cli.make_parser
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, that of the process if None, and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # names of files need not be text
    try:
        code = run_command(argv)
        sys.stdout.flush()
        return code
    except UserError as e:
        sentence = '\n'.join(map(printable, str(e).split('\n')))
        print(f'timm-vipriors {argv[0]}: error: {sentence}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as e:  # which a command may raise again with what to type to resume
        print(' '.join(['timm-vipriors', *argv[:1]]) + f': {str(e) or "interrupted"}', file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python ends
        return 128 + signal.SIGPIPE


def run_command(argv: list[str]) -> int:
    """Parse a command line and run its command."""
    if argv and argv[0] in SCRIPTS:  # its flags and help are the script's own
        from .scripts.runner import run

        return run(argv[0], argv[1:])
    parser = make_parser()
    args, others = parser.parse_known_args(argv)
    if hasattr(args, 'other_flags'):  # of a command that passes them on
        args.other_flags = others
    elif others:
        parser.error(f'unrecognized arguments: {printable(" ".join(others))}')
    with nullcontext() if args.command in ('run', 'suggest') else user_errors():  # a script has its own errors
        return args.run(args)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands but those that are scripts."""
    parser = argparse.ArgumentParser(
        prog='timm-vipriors',
        description='Train timm models from scratch on small image data sets.',
        epilog=make_epilog(_EXAMPLES, _NOTES),
        formatter_class=HelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, text in SCRIPTS.items():
        commands.add_parser(name, help=text)
    for command in (demo_data, subset, suggest, hierarchy, predict, ensemble, report, recipe, ablation, run, doctor):
        command.add(commands)
    return parser
