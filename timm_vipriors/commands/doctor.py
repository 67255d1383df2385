"""Say what is installed, and what is wrong with it.

The first thing that a bug report needs. Works where torch or timm does not. Exits with 1 if something is wrong.
"""

import argparse
import json
from typing import Any

from ..environment import examine
from .common import add_parser


def add(commands: argparse._SubParsersAction) -> None:
    parser = add_parser(commands, 'doctor', run, __doc__, ['timm-vipriors doctor', 'timm-vipriors doctor --json'])
    parser.add_argument('--json', action='store_true', help='print the same as JSON')


def run(args: argparse.Namespace) -> int:
    found = examine()
    print(json.dumps(found, indent=2) if args.json else report(found))
    return 1 if found['errors'] else 0


def report(found: dict[str, Any]) -> str:
    """What was found, a line each, and what is wrong in sentences."""
    rows = {name: found[name] for name in ('version', 'path', 'python', 'executable', 'platform', 'cores')}
    rows |= {name: f'{p["version"]}  {p["path"] or p["error"]}' for name, p in found['packages'].items()}
    rows |= {name.replace('_', ' '): value for name, value in found['torch'].items()}
    rows['models'] = f'{len(found["models"])} of ours in timm'
    rows['TIMM_SCRIPTS'] = 'not set: train and validate run the bundled scripts'
    if found['timm_scripts']['path']:
        rows['TIMM_SCRIPTS'] = '{path}  timm {version}'.format_map(found['timm_scripts'])
    rows |= {f'extra {name}': f'lacks {", ".join(lacks)}' if lacks else 'ok' for name, lacks in found['extras'].items()}
    lines = [f'{name:<16}  {", ".join(value) if isinstance(value, list) else value}' for name, value in rows.items()]
    lines += [f'warning: {text}' for text in found['warnings']] + [f'error: {text}' for text in found['errors']]
    return '\n'.join(lines if found['errors'] else [*lines, 'all is well'])
