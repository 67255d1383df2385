"""Turn the CSV files into RESULTS.md: means, and paired differences with 95 % intervals over training sets × seeds.

PYTHONPATH=. python -m tests.benchmarks.evidence.summary
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

from timm_vipriors.files import atomic_write

from . import small_race
from .plan import BASES, QUESTIONS
from .run import FOLDER, read
from .settings import NAMES, Settings

HERE = Path(__file__).parent
SEEDS = ('data_seed', 'seed')
HEAD = """# What helps on few images: results

Made by `python -m tests.benchmarks.evidence.summary` from results/*.csv. PROTOCOL.md says how, and which sets are for
tuning and which for final numbers. Top-1 in percent, the mean over n training sets × seeds. **Difference**: paired with
the base row of the same training set and seed; ± is the 95 % interval (Student's t) over the pairs. With one pair there
is none: the sampling error of the test images alone is then ± 1.9 points on digits (1,697 images), ± 2.9 on fashion's
validation images (1,000), ± 0.9 on its test images (10,000) and ± 1.4 on characters (4,800), and another seed of the
same row moves it about as much again.
"""


def main() -> None:
    with atomic_write(HERE / 'RESULTS.md') as path:
        step_time = (HERE / 'notes' / 'step-time.md').read_text()
        path.write_text(HEAD + ''.join(section(question) for question in QUESTIONS) + small_race.section() + step_time)


def section(question: str) -> str:
    """The table of one question, under what was written about it."""
    rows = read(FOLDER / f'{question}.csv')
    if not rows:
        return ''
    title = (QUESTIONS[question].__doc__ or question).split('\n')[0]
    note = HERE / 'notes' / f'{question}.md'
    text = f'\n## {title}\n\n' + (note.read_text() + '\n' if note.exists() else '')
    return text + '\n'.join(table(rows, BASES.get(question, {}))) + '\n'


def table(rows: list[tuple[Settings, dict[str, str]]], base: dict[str, object]) -> list[str]:
    """Markdown lines: one row for all runs that differ in their seeds alone."""
    results = {settings.key(): result for settings, result in rows}
    groups: dict[tuple[str, ...], list[Settings]] = defaultdict(list)
    for settings, _ in rows:
        groups[replace(settings, data_seed=0, seed=0).key()].append(settings)
    varied = [n for i, n in enumerate(NAMES) if n not in SEEDS and len({key[i] for key in groups}) > 1]
    lines = [
        '| ' + ' | '.join((*varied, 'n', 'top-1', 'test CE', 'training loss', 'difference')) + ' |',
        '|' + '---|' * (len(varied) + 5),
    ]
    for members in groups.values():
        found = [results[s.key()] for s in members]
        mean = {name: np.mean([float(r[name]) for r in found]) for name in ('top1', 'test_ce', 'train_loss')}
        pairs = [(s, replace(s, **base)) for s in members] if base else []
        gains = [
            float(results[s.key()]['top1']) - float(results[b.key()]['top1'])
            for s, b in pairs
            if s != b and b.key() in results
        ]
        cells = [str(getattr(members[0], name)) for name in varied]
        cells += [str(len(found)), f'{mean["top1"]:.1f}', f'{mean["test_ce"]:.3f}', f'{mean["train_loss"]:.3f}']
        lines.append('| ' + ' | '.join([*cells, interval(gains)]) + ' |')
    return lines


def interval(gains: list[float]) -> str:
    """A mean with its 95 % interval."""
    if not gains:
        return ''
    if len(gains) == 1:
        return f'{gains[0]:+.1f}'
    half = stats.t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / len(gains) ** 0.5
    return f'{np.mean(gains):+.1f} ± {half:.1f}' + (f' (n {len(gains)})' if gains else '')


if __name__ == '__main__':
    main()
