"""How many cases of bad input there are."""

import importlib
from pathlib import Path

from .cases import PLANNED


def test_there_are_ten_thousand_cases():
    """Each test runs as many as it plans, which `run_cases` asserts; Hypothesis leaves out a few that it has tried."""
    for path in Path(__file__).parent.glob('test_bad_*.py'):
        importlib.import_module(f'{__package__}.{path.stem}')
    few, many = (sum(counts) for counts in zip(*PLANNED.values(), strict=True))
    for kind, counts in PLANNED.items():
        print(f'{kind}: {counts[0]} by default, {counts[1]} in the slow suite')
    print(f'in all: {few} by default, {many} in the slow suite')
    assert few >= 300
    assert many - 0.1 * (PLANNED['groups'][1] + PLANNED['parents'][1]) >= 10_000
