"""All benchmarks one after the other, and what they gave in tests/benchmarks/RESULTS.md.

    python tests/benchmarks/all.py [--only NAME …] [-o FILE]

Takes about a quarter of an hour on two CPU cores. Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

from side_by_side import machine, table

HERE = Path(__file__).parent
# the flags that keep each within its share of the quarter of an hour
BENCHMARKS = {
    'import_time': [],
    'dsk_step': [],
    'dsk_inference': [],
    'memory': [],
    'epoch_overhead': [],
    'losses': ['--rounds', '3'],
    'lsb_swap': ['--rounds', '20'],
    'cache': ['--images', '500'],
    'predict': ['--rounds', '3'],
    'ensembles': ['--rounds', '1'],
    'subset': [],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='+', choices=BENCHMARKS, metavar='NAME', help='some of them, to look at')
    parser.add_argument('-o', '--output', default=str(HERE / 'RESULTS.md'), metavar='FILE')
    args = parser.parse_args()
    begin = time.monotonic()
    sections = []
    with tempfile.TemporaryDirectory() as tmp:
        for name in args.only or BENCHMARKS:
            path = Path(tmp, f'{name}.json')
            start = time.monotonic()
            print(f'{name} …', flush=True)
            subprocess.run([sys.executable, HERE / f'{name}.py', *BENCHMARKS[name], '--json', path], check=True)
            command = ' '.join(['python', f'tests/benchmarks/{name}.py', *BENCHMARKS[name]])
            sections.append(section(json.loads(path.read_text()), command, time.monotonic() - start))
    minutes = (time.monotonic() - begin) / 60
    Path(args.output).write_text(page(sections, minutes), encoding='utf-8')
    print(f'{args.output}: {minutes:.1f} minutes')


def section(content: dict, command: str, spent: float) -> str:
    """The Markdown of a benchmark."""
    settings = ', '.join(part for part in content['settings'].split(', ') if not part.startswith('timm'))
    lines = table(content['figures'])
    return '\n'.join([f'## {content["title"]}', '', f'`{command}`, {spent:.0f} s. {settings}.', '', *lines, ''])


def page(sections: list[str], minutes: float) -> str:
    """The Markdown of all benchmarks."""
    names = ('timm-vipriors', 'timm', 'torch', 'torchvision', 'numpy', 'pillow', 'scipy')
    versions = ', '.join(f'{name} {version(name)}' for name in names)
    checkout = "timm's own scripts" if os.environ.get('TIMM_SCRIPTS') else 'the bundled scripts'
    return (
        f'# What was measured\n\nBy `python tests/benchmarks/all.py`, {date.today()}, in {minutes:.0f} minutes, with '
        f'{checkout}, on one machine: {machine()}; Python {platform.python_version()}, {versions}.\n\n'
        f'Each row is a ratio of two things that took turns in one run: the median over the rounds, and its spread '
        f'from the lowest to the highest (of LSB swap and of epochs the middle eight tenths).\n\n' + '\n'.join(sections)
    )


if __name__ == '__main__':
    main()
