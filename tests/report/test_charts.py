"""Charts of a report: that what is drawn are the numbers."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from timm_vipriors.report.charts import Series, line_chart, nice_ticks
from timm_vipriors.report.curves import training_section
from timm_vipriors.report.figures import gather
from timm_vipriors.report.markup import Markup, el, shorten
from timm_vipriors.report.matrix import confusion_matrix
from timm_vipriors.report.runs import read_run

from .test_figures import HEADER, make_scores, write_run


def curves(drawing: str) -> dict[str, list[tuple[float, float]]]:
    """Points of the polylines in the numbers of the axes, which are found from two ticks each."""
    root = ET.fromstring(drawing)

    def scale(axis: str):
        ticks = [t for t in root.iter('text') if t.get('class') == f'tick {axis}']
        at = [float(t.get(axis)) - (4 if axis == 'y' else 0) for t in ticks]
        value = [float(t.text.replace(',', '')) for t in ticks]
        return lambda p: value[0] + (p - at[0]) * (value[-1] - value[0]) / (at[-1] - at[0])

    x, y = scale('x'), scale('y')
    heights = [float(t.get('y')) for t in root.iter('text') if t.get('class') == 'tick y']
    assert heights == sorted(heights, reverse=True)  # the higher the number, the higher its tick
    found = {}
    for line in root.iter('polyline'):
        points = [tuple(map(float, p.split(','))) for p in line.get('points').split()]
        found.setdefault(line.get('data-series'), []).extend((x(a), y(b)) for a, b in points)
    return found


def test_points_of_curves_are_the_numbers_of_the_csv(tmp_path):
    rng = np.random.default_rng(0)
    table = rng.uniform(size=(30, 5)) * [3, 2, 100, 100, 0.02]
    lines = [','.join([str(i + 5), *map(repr, row.tolist())]) for i, row in enumerate(table)]
    text = training_section([read_run(str(write_run(tmp_path / 'A', HEADER, *lines)))], ['A'])
    found = {}
    for drawing in re.findall(r'<svg[^>]*class="chart".*?</svg>', text, re.DOTALL):
        found |= curves(drawing)
    names = ['A: training', 'A: validation', 'A: top-1', 'A: top-5', 'A: learning rate']
    assert sorted(found) == sorted(names)
    for name, column in zip(names, table.T, strict=True):
        points = np.array(found[name])
        np.testing.assert_allclose(points[:, 0], np.arange(5, 35), atol=0.01)
        np.testing.assert_allclose(points[:, 1], column, atol=0.001 * column.max())


def test_a_curve_breaks_where_a_number_is_missing():
    y = np.array([1, 2, np.nan, 3, np.inf, 4, 5])
    root = ET.fromstring(line_chart([Series('s', np.arange(7), y)], 'l'))
    assert [len(p.get('points').split()) for p in root.iter('polyline')] == [2, 2]
    assert len([c for c in root.iter('circle') if c.get('class').startswith('dot')]) == 1
    nothing = line_chart([Series('s', np.arange(3), np.full(3, np.nan), mark=1)], 'l', (0.0, 100.0))
    assert 'polyline' not in nothing and 'circle' not in nothing


@pytest.mark.parametrize(
    ('low', 'high'),
    [(0, 1), (0.3, 97.5), (1e-5, 3e-3), (0, 0), (5, 5), (-2, 3), (2.299, 2.301), (1e6, 3e6), (1e-9, 5e-9)],
)
def test_ticks_are_few_enclose_and_read_as_their_values(low, high):
    ticks = nice_ticks(low, high)
    assert min(ticks) <= low and max(ticks) >= high * (1 - 1e-9)
    assert 3 <= len(ticks) <= 9
    assert len(set(ticks.values())) == len(ticks)
    for value, text in ticks.items():
        assert float(text.replace(',', '')) == pytest.approx(value, abs=1e-12)


def test_matrix_cells_hold_the_counts():
    scores = make_scores(500, 4)
    text, _ = confusion_matrix(gather(scores).measured.confusion, list(scores.class_names))
    root = ET.fromstring(re.search(r'<svg[^>]*class="matrix".*?</svg>', text, re.DOTALL)[0])
    titles = [r[0].text for r in root.iter('rect') if r.get('class') in ('hit', 'miss')]
    found = {tuple(re.match(r'class (\d) → class (\d): (\d+)', t).groups()) for t in titles}
    pairs = list(zip(scores.targets.tolist(), scores.scores.argmax(1).tolist(), strict=True))
    assert found == {(str(t), str(p), str(pairs.count((t, p)))) for t, p in set(pairs)}


def test_only_markup_is_not_escaped():
    assert el('p', '<b>', Markup('<i>'), None, 3) == '<p>&lt;b&gt;<i>3</p>'
    assert el('p', class_='"', data_x="'", hidden=None) == '<p class="&quot;" data-x="&#x27;"></p>'
    assert el('rect', x=1.005, y=2.0) == '<rect x="1" y="2"/>'
    assert (shorten('abcdef', 6), shorten('abcdef', 4), shorten('日本語', 5)) == ('abcdef', 'abc…', '日本…')
