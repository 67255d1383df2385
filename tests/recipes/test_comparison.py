"""Means, intervals and differences against a plain computation, and what the tables say."""

import csv
import io
import math
import re

import numpy as np
import pytest
from scipy import stats

from timm_vipriors.files import printable
from timm_vipriors.recipes.comparison import Estimate, Row, compare, format_time, markdown, to_csv
from timm_vipriors.recipes.plots import curves_figure, table_figure


def slow_interval(values):
    """By the textbook: the mean plus and minus t times the standard error, with the t of a table for few values."""
    n = len(values)
    mean = sum(values) / n
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)) / math.sqrt(n)
    t = {2: 12.7062, 3: 4.30265, 5: 2.77645, 10: 2.26216}[n]
    return mean, mean - t * error, mean + t * error


@pytest.mark.parametrize('n', [2, 3, 5, 10])
def test_interval(n):
    values = np.random.default_rng(n).normal(60, 3, n)
    e = Estimate.of(values)
    assert (e.mean, e.low, e.high) == pytest.approx(slow_interval(list(values)), rel=1e-5)
    scipy = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (e.low, e.high) == pytest.approx(tuple(scipy))


def test_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = [e.low < 5 < e.high for e in (Estimate.of(rng.normal(5, 2, 4)) for _ in range(2000))]
    assert 0.935 < np.mean(held) < 0.965


@pytest.fixture
def rows():
    """Three rows of four seeds; the second is better by two points in each, the third is noise; 10 and 20 epochs."""
    first = {1: 50.0, 2: 60.0, 3: 55.0, 4: 70.0}
    second = {seed: value + 2 + 0.1 * seed for seed, value in first.items()}
    third = {1: second[1] + 5, 2: second[2] - 5, 4: second[4] + 1}  # seed 3 is missing
    seconds = {'plain': [10.0, 20.0], 'better': [], 'third --flag 1': [7200.0]}
    return compare(
        [
            Row(name, {seed: {10: value / 2, 20: value} for seed, value in row.items()}, seconds[name])
            for name, row in zip(seconds, (first, second, third), strict=True)
        ]
    )


def test_differences_are_paired_by_seed(rows):
    assert math.isnan(rows[0].difference.mean)
    assert rows[0].top1.mean == 58.75
    assert rows[1].difference.mean == pytest.approx(2.25)
    assert rows[1].difference.high - rows[1].difference.low < 0.5  # though the rows spread over twenty points
    assert rows[1].top1.high - rows[1].top1.low > 20
    assert [len(row.curves) for row in rows] == [4, 4, 3]
    assert rows[2].difference.mean == pytest.approx(1 / 3)  # of the three seeds that both have


def test_markdown(rows):
    lines = markdown(rows).splitlines()
    assert lines[0] == '| row | top-1 (%) | difference | from | time |'
    assert lines[2].startswith('| `plain` | 58.75 ± ')
    assert lines[2].endswith(' |  |  | 15 s |')
    assert '| +2.25 (+2.04 to +2.46) | `plain` | – |' in lines[3]
    assert lines[4].startswith('| `third --flag 1` |')
    assert ', in the noise | `better` | 2.0 h |' in lines[4]
    assert 'Mean over 3 to 4 seeds of the top-1 accuracy after the last epoch' in lines[6]


def test_one_seed_has_no_interval():
    rows = compare([Row('a', {1: {5: 50.0}}, [1.0]), Row('b', {1: {5: 40.0}}, [1.0])])
    text = markdown(rows)
    assert '| 50.00 (one seed) |  |  |' in text
    assert '| 40.00 (one seed) | −10.00 (one seed) | `a` |' in text
    assert 'Mean over 1 seed of' in text
    assert 'noise |' not in text
    for figure in (table_figure, curves_figure):
        figure(rows, 'one seed')


def test_csv(rows):
    table = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [row['row'] for row in table] == ['plain', 'better', 'third --flag 1']
    assert float(table[1]['difference_low']) == pytest.approx(rows[1].difference.low, abs=1e-4)
    assert table[0]['difference'] == table[1]['seconds'] == ''
    assert [row['seeds'] for row in table] == ['4', '4', '3']


def test_compared_with_the_row_that_the_paper_needs():
    accuracy = {'a': 50.0, 'b': 60.0, 'c': 57.0, 'd': 58.0}
    against = {'a': '', 'b': 'a', 'c': 'a', 'd': 'not in the table'}
    paper = {'a': 52.01, 'b': 54.45, 'c': 54.06, 'd': math.nan}
    results = [Row(n, {1: {1: accuracy[n]}, 2: {1: accuracy[n] + 1}}, [], against[n], paper[n]) for n in accuracy]
    rows = compare(results)
    assert [row.base.name for row in rows[1:]] == ['a', 'a', 'c']
    assert [row.difference.mean for row in rows[1:]] == [10, 7, 1]
    assert [row.paper_difference for row in rows] == pytest.approx([math.nan, 2.44, 2.05, math.nan], nan_ok=True)
    lines = markdown(rows).splitlines()
    assert lines[0] == '| row | top-1 (%) | difference | from | in the paper | time |'
    assert lines[4] == '| `c` | 57.50 ± 6.35 | +7.00 (+7.00 to +7.00) | `a` | +2.05 | – |'
    assert lines[5].endswith('| `c` |  | – |')
    assert to_csv(rows).splitlines()[3].endswith(',a,2.0500')


def test_the_same_run_twice_is_not_in_the_noise():
    for seeds in (1, 3):
        curves = {seed: {1: 40.0 + seed} for seed in range(seeds)}
        text = markdown(compare([Row('a', curves), Row('b', curves)]))
        assert '| the same in every seed | `a` |' in text
        assert 'noise |' not in text


@pytest.mark.parametrize('small', [0.0, -0.0, -0.004, 0.004, -0.00001])
def test_no_minus_zero(small):
    noisy = {1: {1: 50 + small - 0.004}, 2: {1: 50 + small + 0.004}, 3: {1: 50 + small}}
    rows = compare([Row('a', {seed: {1: 50.0} for seed in noisy}), Row('b', noisy)])
    for text in (markdown(rows), to_csv(rows), *(text.get_text() for text in table_figure(rows, '').axes[0].texts)):
        assert not re.search(r'[-−]0\.0+(?!\d)', text), text


@pytest.mark.parametrize('name', ['a\rb', 'a\r\nb', 'a\nb', 'a,"b"', 'a|b'])
def test_names_do_not_tear_the_tables(name):
    rows = compare([Row('plain', {1: {1: 50.0}}), Row(name, {1: {1: 60.0}})])
    text = to_csv(rows)
    assert [row['row'] for row in csv.DictReader(io.StringIO(text, newline=''))] == ['plain', printable(name)]
    assert all(len(row) == 11 for row in csv.reader(io.StringIO(text, newline='')))
    lines = markdown(rows).splitlines()
    assert [len(re.findall(r'(?<!\\)\|', line)) for line in lines[:4]] == [6] * 4


def test_figures_show_the_numbers(rows):
    (axes,) = table_figure(rows, 'A title').axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ['plain', 'better', 'third --flag 1']
    assert any('+2.25 (+2.04 to +2.46)' in text.get_text() for text in axes.texts)
    dots = [line for line in axes.lines if line.get_marker() == 'o']
    assert [line.get_xdata()[0] for line in dots] == [row.top1.mean for row in rows]
    low, high = axes.get_xlim()
    assert -1 <= low < high <= 101
    (curves,) = curves_figure(rows, 'A title').axes
    assert [line.get_label() for line in curves.lines] == [row.name for row in rows]
    assert list(curves.lines[0].get_xdata()) == [10, 20]
    assert list(curves.lines[0].get_ydata()) == [58.75 / 2, 58.75]
    assert len(curves.collections) == 3


@pytest.mark.parametrize(
    ('seconds', 'text'), [(12.4, '12 s'), (299, '299 s'), (350, '6 min'), (7300, '2.0 h'), (math.nan, '–')]
)
def test_times(seconds, text):
    assert format_time(seconds) == text
