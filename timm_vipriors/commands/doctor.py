"""`timm-vipriors doctor`"""

import argparse
import json
from typing import Any

from .common import add_parser

_EXAMPLES = ['timm-vipriors doctor', 'timm-vipriors doctor --json']


def add(commands: argparse._SubParsersAction) -> None:
    parser = add_parser(
        commands,
        'doctor',
        help='say what is installed, and what is wrong with it',
        description='Say which versions are installed, on which machine, and what is wrong with them: the first thing '
        'that a bug report needs. Works where torch or timm does not. Ends with 1 if something is wrong.',
        examples=_EXAMPLES,
    )
    parser.add_argument('--json', action='store_true', help='print the same as JSON')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..environment import examine

    found = examine()
    print(json.dumps(found, indent=2) if args.json else report(found))
    return 1 if found['errors'] else 0


def report(found: dict[str, Any]) -> str:
    """What was found, a line each, and what is wrong in sentences."""
    machine, scripts, extras = found['machine'], found['timm_scripts'], found['extras']
    rows = [
        ('timm-vipriors', f'{found["version"]}  {found["path"]}'),
        ('Python', f'{found["python"]}  {found["executable"]}'),
        ('platform', found['platform']),
        ('CPU cores', str(machine['cores'])),
    ]
    if machine['open_files'] is not None:
        rows.append(('open files', f'{machine["open_files"]} at most'))
    if machine['shared_memory_mib'] is not None:
        rows.append(('shared memory', f'{machine["shared_memory_mib"]:,} MiB free'))
    for name, package in found['packages'].items():
        where = package['path'] or ('not installed' if package['version'] is None else 'cannot be imported')
        rows.append((name, f'{package["version"] or ""}  {where}'.strip()))
    rows += [(f'  {name.replace("_", " ")}', _text(value)) for name, value in found['torch'].items()]
    rows.append(('models', f'{len(found["models"])} of ours in timm'))
    if scripts['path'] is None:
        rows.append(('TIMM_SCRIPTS', 'not set: train and validate run the bundled scripts'))
    else:
        rows.append(('TIMM_SCRIPTS', f'{scripts["path"]}  timm {scripts["version"] or "of an unknown version"}'))
    rows.append(('extras', _text([name for name, missing in extras.items() if not missing])))
    rows += [('  not there', f'{name}: without {", ".join(missing)}') for name, missing in extras.items() if missing]
    width = max(len(name) for name, _ in rows)
    lines = [f'{name:{width}}  {text}' for name, text in rows]
    lines += [f'warning: {text}' for text in found['warnings']]
    lines += [f'error: {text}' for text in found['errors']] or ['all is well']
    return '\n'.join(lines)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ', '.join(map(str, value)) or 'none'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return 'none' if value is None else str(value)
