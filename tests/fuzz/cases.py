"""What the tests of bad input share: how many cases there are, their seeds, and what counts as an answer.

A case is accepted, and its result is checked against something independent, or it is refused by one sentence. Every
case has a seed of its own, which a failure names. TIMM_VIPRIORS_FUZZ multiplies the numbers of cases.
"""

import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError

SCALE = float(os.environ.get('TIMM_VIPRIORS_FUZZ', '1'))
ACCEPTED, REFUSED = 'accepted', 'refused'

_MOST_SECONDS = 20  # of the processors for a case: most take milliseconds; one that waits is ended by pytest-timeout


def at_scale(few: int, many: int) -> pytest.MarkDecorator:
    """Give a test its `number` of cases: few by default, many in the slow suite."""
    params = [pytest.param(scaled(few), id='few'), pytest.param(scaled(many), id='many', marks=pytest.mark.slow)]
    return pytest.mark.parametrize('number', params)


def scaled(number: int) -> int:
    return max(1, round(number * SCALE))


def run_cases(kind: str, number: int, check: Callable[[random.Random], str]) -> Counter:
    """Run cases, each with a generator of its own, and return how many there were of each outcome."""
    outcomes: Counter = Counter()
    failures: dict[str, Exception | SystemExit] = {}
    for i in range(number):
        seed, started = f'{kind} {i}', time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # what numpy, torch and Pillow say of broken files is no error
                outcomes[check(random.Random(seed))] += 1
        except (Exception, SystemExit) as e:
            failures.setdefault(f'{type(e).__name__}: {str(e)[:300]}', e).__dict__.setdefault('seed', seed)
        assert time.process_time() - started < _MOST_SECONDS, f'case {seed!r} took too long'
    if failures:
        said = '\n'.join(f'  case {e.seed!r}: {text}' for text, e in failures.items())
        raise AssertionError(f'{len(failures)} kinds of failures:\n{said}') from next(iter(failures.values()))
    print(f'{kind}: {number} cases, {dict(outcomes)}')
    assert outcomes.total() == number
    return outcomes


def attempt(call: Callable[[], Any], names: str = '') -> tuple[Any, str | None]:
    """The result of a call, or the one sentence that refuses it, which names what is wrong.

    Args:
        call: What may refuse by a UserError, ValueError or OSError, and by nothing else.
        names: A text that the sentence must have.
    """
    try:
        return call(), None
    except (UserError, ValueError, OSError) as e:
        sentence = str(e)
        assert sentence.strip(), f'{type(e).__name__} without a text'
        assert names in sentence, f'{sentence!r} does not name {names!r}'
        return None, sentence


def command(capsys: pytest.CaptureFixture, argv: Sequence[str]) -> tuple[int, str, str]:
    """Run a command line in this process: its exit code is 0, or 2 with an error that has no traceback."""
    sys.stderr.reconfigure(errors='backslashreplace')  # as that of a process is
    try:
        code = main(list(argv))
    except SystemExit as e:
        code = e.code
    out, err = capsys.readouterr()
    assert code in (0, 2), f'exit code {code}: {err}'
    assert 'Traceback' not in err + out, err
    if code == 2:
        last = err.rstrip('\n').rpartition(': error: ')[2]
        assert last and ': error: ' in err, f'no sentence: {err!r}'
        assert 'usage:' in err or last.replace('\n', '').isprintable(), f'not printable: {last!r}'
    return code, out, err


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Content with one thing done to it that happens to files."""
    data = bytearray(content)
    begin = rng.randrange(len(data))
    end = min(len(data), begin + rng.choice([1, 2, 8, 100]))
    how = rng.choice(['cut', 'flip', 'flips', 'zeros', 'ones', 'gone', 'more', 'twice', 'noise', 'empty'])
    if how == 'cut':
        del data[begin:]
    elif how in ('flip', 'flips'):
        for _ in range(1 if how == 'flip' else 8):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how in ('zeros', 'ones'):
        data[begin:end] = (b'\0' if how == 'zeros' else b'\xff') * (end - begin)
    elif how == 'gone':
        del data[begin:end]
    elif how == 'more':
        data[begin:begin] = rng.randbytes(end - begin)
    elif how == 'twice':
        data[begin:begin] = data[begin:end]
    elif how == 'noise':
        data[begin:end] = rng.randbytes(end - begin)
    elif how == 'empty' and rng.random() < 0.2:
        data.clear()
    return bytes(data)
