"""Figures of the report: that what is drawn are the numbers, in the colours of the page."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from timm_vipriors.inference.metrics import wilson
from timm_vipriors.report import plots, read_run
from timm_vipriors.report.measures import Predictions

from .samples import HEADER, make_scores, write_run

LOSSES = {'eval_loss': 'validation', 'train_loss': 'training'}


def drawn(plot, *args) -> Figure:
    figure = Figure()
    plot(figure, *args)
    return figure


@pytest.fixture
def run(tmp_path):
    table = np.random.default_rng(0).uniform(size=(30, 5)) * [3, 2, 100, 100, 0.02]
    lines = [','.join([str(i + 5), *map(repr, row.tolist())]) for i, row in enumerate(table)]
    return read_run(write_run(tmp_path / 'A', HEADER, *lines))


def test_curves_are_the_numbers_of_the_run(run):
    lines = drawn(plots.curves, [run], LOSSES).axes[0].lines
    assert [line.get_linestyle() for line in lines] == ['-', '--']
    for line, column in zip(lines, LOSSES, strict=True):
        assert np.array_equal(line.get_xdata(), np.arange(5, 35))
        assert np.array_equal(line.get_ydata(), run.columns[column])


def test_a_ring_marks_the_best_epoch_and_the_axis_ends_at_100(run):
    figure = drawn(plots.curves, [run], {'eval_top1': 'top-1'}, 100)
    ring = figure.axes[0].lines[1]
    best = int(run.columns['eval_top1'].argmax())
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best + 5, run.columns['eval_top1'][best])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['top-1', f'best: epoch {best + 5}']
    assert figure.axes[0].get_ylim()[1] <= 100


def test_each_of_several_runs_has_its_colour(run):
    lines = drawn(plots.curves, [run, run], LOSSES).axes[0].lines
    colours = [line.get_color() for line in lines]
    assert colours[0] == colours[2] != colours[1] == colours[3]


def test_a_curve_breaks_where_a_number_is_missing_and_lonely_points_are_dots(tmp_path):
    values = ['1', '2', 'nan', '3', 'inf', '4', '1e300', '5', '6']
    run = read_run(write_run(tmp_path / 'A', 'epoch,train_loss', *(f'{i},{v}' for i, v in enumerate(values))))
    line = drawn(plots.curves, [run], {'train_loss': 'training'}).axes[0].lines[0]
    assert np.isfinite(line.get_ydata()).tolist() == [True, True, False, True, False, True, False, True, True]
    assert line.get_markevery() == [3, 5]


def test_the_reliability_diagram_has_accuracies_and_intervals():
    m = Predictions.of(make_scores(300, 4)).labelled()
    counts, correct, _ = m.calibration()
    upper, lower = drawn(plots.reliability, counts, correct).axes
    there = counts > 0
    heights = np.array([bar.get_height() for bar in upper.patches])
    assert np.array_equal(heights[there], correct[there] / counts[there]) and not heights[~there].any()
    assert [bar.get_height() for bar in lower.patches] == counts.tolist()
    whiskers = [tuple(segment[:, 1]) for segment in upper.collections[0].get_segments()]
    assert whiskers == [pytest.approx(wilson(int(c), int(n))) for c, n in zip(correct, counts, strict=True) if n]


def test_a_histogram_counts_in_bins_whose_upper_edge_belongs_to_them():
    bars = drawn(plots.histogram, [0, 0.05, 0.0501, 0.3, 1], 'x', 'y').axes[0].patches
    assert [bar.get_height() for bar in bars] == [2, 1, 0, 0, 0, 1] + [0] * 13 + [1]


def test_an_svg_needs_nothing_else_follows_the_colours_of_the_page_and_is_the_same_again(run):
    first, other = (plots.draw(plots.curves, [run], LOSSES, salt=salt) for salt in 'ab')
    assert plots.draw(plots.curves, [run], LOSSES, salt='a') == first
    root = ET.fromstring(first)
    assert root.tag == 'svg' and root.get('viewBox') and not root.get('width')
    assert not re.search(r'https?:|<style|<metadata', first)
    assert set(re.findall(r'#[0-9a-f]{6}', first)) == set()  # each colour is a variable
    assert {'var(--c0)', 'var(--c1)', 'var(--soft)', 'var(--line)'} <= set(re.findall(r'var\([^)]*\)', first))
    ids = set(re.findall(r' id="([^"]*)"', first))
    assert ids and not ids & set(re.findall(r' id="([^"]*)"', other))
    assert {reference[1:] for reference in re.findall(r'href="([^"]*)"', first)} <= ids
    assert 'validation' in [text.text for text in root.iter('text')]
