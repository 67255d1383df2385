"""Looks at the file of a script's --config before the script reads it: it takes whatever the file says for defaults."""

import argparse
import sys
from typing import Any

import yaml

from ..errors import UserError
from .ranks import is_primary


def check_config(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """Raise for a --config file that cannot be read, or that gives a flag a value of another type.

    A name in it that is no flag is named in a warning: the file may be the args.yaml of another version of the script.

    Args:
        parser: The script's parser.
        argv: Its command line, without the program's name.
    """
    only = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    only.add_argument('-c', '--config', default='')
    path = only.parse_known_args(argv)[0].config
    if not path:
        return
    flags = {action.dest: action for action in parser._actions}
    values = _read(path)
    for name, value in values.items():
        if name in flags:
            _check(path, flags[name], value)
    unknown = sorted(map(str, values.keys() - flags.keys()))
    if unknown and is_primary():
        print(f'warning: {path} has names that are no flags of the script: {", ".join(unknown)}', file=sys.stderr)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding='utf-8') as f:
            values = yaml.safe_load(f)
    except OSError as e:
        raise UserError(f'--config {path} cannot be read: {e.strerror}') from e
    except RecursionError as e:
        raise UserError(f'--config {path} is not a YAML file: it is nested too deeply') from e
    except (ValueError, yaml.YAMLError) as e:  # PyYAML has a ValueError for a date that is none
        raise UserError(f'--config {path} is not a YAML file: {" ".join(str(e).split())}') from e
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UserError(f'--config {path}: expected lines of "name: value" with the names of flags')
    return values


def _check(path: str, action: argparse.Action, value: Any) -> None:
    """Raise for a value that no command line could give; the parser itself looks at texts for numbers alone."""
    kinds, expected = _kinds(action)
    several = action.nargs not in (None, '?', 0) and isinstance(value, list | tuple)
    for each in value if several else [value]:
        if not (each is None or (isinstance(each, kinds) and (bool in kinds or not isinstance(each, bool)))):
            raise UserError(f'--config {path}: {action.dest} must be {expected}, got {each!r}')


def _kinds(action: argparse.Action) -> tuple[tuple[type, ...], str]:
    """The types that the parser makes the right one of, and the words for them."""
    if action.nargs == 0:  # a switch
        return (bool,), 'true or false'
    if isinstance(action.default, dict):
        return (dict,), 'a mapping'
    if action.type is float:
        return (int, float, str), 'a number'
    if action.type is int:
        return (int, str), 'a whole number'
    return (str,), 'a text'
