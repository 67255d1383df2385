"""The page of a report: that it is sound HTML, says what it must, and lets nothing in from names."""

import base64
import io
import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError
from timm_vipriors.inference.scores import Scores
from timm_vipriors.report import build_report, write_report

from .samples import HEADER, make_scores, save, write_run
from .test_images import picture

HOSTILE = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    '</style><b>',
    '</title><script>alert(5)</script>',
    '&lt;script&gt;',
    '<!--',
    '$\\frac{1}{0}$ {{ 7 * 7 }} {% raw %}',
    'javascript:alert(9)',
    'a\ud800\x00b',
]
VOID = {'meta', 'img', 'br'}
TAGS = set(
    'html head meta title style body main header footer nav section div h1 h2 h3 h4 p ul li dl dt dd a b strong code '
    'span bdi table caption thead tbody tr th td details summary figure figcaption img '
    'svg defs g path use text clippath rect'.split()
)


class Page(HTMLParser):
    """Checks what holds for every page, and collects elements and texts by element."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []  # tags are balanced
        assert {tag for tag, _ in self.elements} <= TAGS
        for tag, attributes in self.elements:
            assert not any(name.startswith('on') for name in attributes), (tag, attributes)
            assert attributes.get('src', 'data:image/jpeg;base64,').startswith('data:image/jpeg;base64,')
            assert attributes.get('href', '#').startswith('#')
        ids = [attributes['id'] for _, attributes in self.elements if 'id' in attributes]
        assert len(ids) == len(set(ids))
        assert {attributes['href'][1:] for _, attributes in self.elements if 'href' in attributes} <= set(ids)
        assert not re.search(r'https?://|//[a-z]|url\((?!#)|@import', re.sub(r'data:[^"]*', '', text))
        for drawing in re.findall(r'<svg.*?</svg>', text, re.DOTALL):
            ET.fromstring(drawing)
        policies = [a['content'] for a in self.all('meta') if a.get('http-equiv') == 'Content-Security-Policy']
        assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
        assert len(self.texts_of('h1')) == 1

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else '', data))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    def texts_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def build(*sources, **options) -> str:
    text = build_report(sources, **options)
    Page(text)
    return text


def headings(text: str) -> list[str]:
    return Page(text).texts_of('h3')


def cells(text: str, caption: str) -> list[list[str]]:
    """The texts of a table's rows."""
    body = text.split(f'<caption>{caption}</caption>')[1].split('</table>')[0].split('<tbody>')[1]
    return [
        [re.sub(r'<[^>]+>', '', cell).strip() for cell in re.findall(r'<t[dh].*?>(.*?)</t[dh]>', row, re.DOTALL)]
        for row in re.findall(r'<tr.*?</tr>', body, re.DOTALL)
    ]


def test_ten_classes(tmp_path):
    scores = make_scores(1297, 10, unknown=7)
    text = build(save(tmp_path / 's.npz', scores))
    cards = ['Confusion', 'Calibration', 'Accuracy by class', 'Most confused pairs', 'Most confident mistakes']
    assert headings(text) == cards
    assert 'Left out: 7 images without a label' in text
    tiles = ['Top-1 accuracy', 'Balanced accuracy', 'Top-5 accuracy', 'Cross-entropy', 'Calibration error']
    assert Page(text).texts_of('dt') == tiles
    assert text.count('n\u00a0=\u00a01,290') == 5
    assert len(text) < 200_000
    pairs = list(zip(scores.targets[7:].tolist(), scores.scores[7:].argmax(1).tolist(), strict=True))
    matrix = cells(text, 'Confusion matrix of 10 classes: true classes in rows, predicted ones in columns')
    for true, row in enumerate(matrix):
        assert row == [f'class {true}', *(str(pairs.count((true, p)) or '') for p in range(10))]


def test_the_same_input_gives_the_same_page(tmp_path):
    sources = save(tmp_path / 's.npz', make_scores(100, 10)), write_run(tmp_path / 'A', HEADER, '0,1,2,3,4,5')
    assert build(*sources) == build(*sources)


def test_a_thousand_classes_have_no_matrix(tmp_path):
    text = build(save(tmp_path / 's.npz', make_scores(3000, 1000)))
    classes = ['Accuracy by class', 'The 15 worst classes', 'The 15 best classes']
    assert headings(text) == ['Calibration', *classes, 'Most confused pairs', 'Most confident mistakes']
    worst, best = (
        [float(row[2].removesuffix('\u00a0%')) for row in cells(text, f'The 15 {which} classes')]
        for which in ('worst', 'best')
    )
    assert len(worst) == len(best) == 15
    assert worst == sorted(worst) and best == sorted(best, reverse=True) and worst[-1] < best[-1]
    assert re.search(r'The first 30 of [\d,]+ pairs', text)
    assert len(text) < 100_000


@pytest.mark.parametrize(('rows', 'classes'), [(1, 10), (1, 1000), (40, 2), (1, 1), (100, 31), (400, 61)])
def test_odd_sizes(tmp_path, rows, classes):
    text = build(save(tmp_path / 's.npz', make_scores(rows, classes)))
    assert ('Confusion matrix' in text) == (classes <= 30)
    assert ('five classes or fewer' in text) == (classes <= 5)
    assert ('worst classes' in text) == (classes > 60 and rows > 60)


def test_no_mistakes(tmp_path):
    scores = Scores(np.eye(3, dtype=np.float32), np.array(['a', 'b', 'c']), np.arange(3), None, '')
    text = build(save(tmp_path / 's.npz', scores))
    assert 'There are none: 3 images are right.' in text
    assert 'No image was taken for another class.' in text


@pytest.mark.parametrize(
    ('wrong', 'note'),
    [(1, 'The only mistake.'), (24, 'All 24 mistakes.'), (25, 'The 24 of 25 mistakes with the highest')],
)
def test_it_says_how_many_mistakes_are_shown(tmp_path, wrong, note):
    targets = np.array([1] * wrong + [0] * 3)
    scores = np.tile(np.array([[0.75, 0.25]], dtype=np.float32), (len(targets), 1))
    names = np.array([f'{i}.png' for i in range(len(targets))])
    text = build(save(tmp_path / 's.npz', Scores(scores, names, targets, None, '')))
    assert f'<p class="note">{note}' in text
    assert [row[0] for row in cells(text, 'Most confident mistakes')] == [f'{i}.png' for i in range(min(wrong, 24))]


@pytest.mark.parametrize('classes', [10, 100])
def test_without_labels(tmp_path, classes):
    scores = make_scores(300, classes)
    text = build(save(tmp_path / 's.npz', Scores(scores.scores, scores.filenames, None, scores.class_names, 'm')))
    assert 'The labels are missing' in text
    assert headings(text) == ['Confidence of the predictions', 'Predicted classes']


def test_a_comparison_bolds_only_what_was_measured_on_the_same_images(tmp_path):
    good, bad = make_scores(200, 6), make_scores(200, 6)
    bad.scores[:100] = bad.scores[:100, ::-1]
    one, other = save(tmp_path / 'one.npz', good), save(tmp_path / 'other.npz', bad)
    turned = Scores(bad.scores[::-1], bad.filenames[::-1], bad.targets[::-1], bad.class_names, 'model')
    text = build(one, save(tmp_path / 'turned.npz', turned))  # rows belong together by name
    assert 'the best figure of each column is bold' in text
    first, second = re.findall(r'<tr><td><a .*?</tr>', text, re.DOTALL)
    assert first.count('<strong>') >= 4 and second.count('<strong>') == 0
    assert Page(text).texts_of('h2') == ['Comparison', f'model ({one})', f'model ({tmp_path}/turned.npz)']
    text = build(one, other, save(tmp_path / 'two.npz', make_scores(20, 2)), one)
    assert 'cannot be compared directly' in text and '<strong>' not in text
    assert text.count('<dl') == 4


def test_the_same_images_are_those_with_the_same_class_names(tmp_path):
    """Class names tell whether labels agree, never indices: models can have their classes in another order."""
    cat_dog = make_scores(60, 2)

    def file(name: str, names: list[str] | None, order: list[int] = (0, 1)):
        class_names = None if names is None else np.array(names)
        targets = np.argsort(order)[cat_dog.targets]
        return save(tmp_path / name, Scores(cat_dog.scores[:, order], cat_dog.filenames, targets, class_names, name))

    one = file('one.npz', ['cat', 'dog'])
    for other, same in (
        (file('other_order.npz', ['dog', 'cat'], [1, 0]), True),
        (file('other_labels.npz', ['dog', 'cat']), False),
        (file('other_classes.npz', ['lion', 'wolf']), False),
        (file('no_names.npz', None), False),
    ):
        text = build(one, other)
        assert ('All were measured on the same images' in text) == ('<strong>' in text) == same, other
    numbered = file('numbered.npz', ['0', '1'])
    assert 'cannot be compared' in build(numbered, tmp_path / 'no_names.npz')  # their 0 may be another class


def test_there_is_no_negative_zero(tmp_path):
    """Minus the mean logarithm of scores that are all one is -0.0; a loss can round to it."""
    scores = Scores(np.eye(3, dtype=np.float32), np.array(['a', 'b', 'c']), np.arange(3), None, '')
    run = write_run(tmp_path / 'A', HEADER, '0,-0.0,-0.00001,-0.001,-0.0,-0.0', '1,-0.5,-1,0,0,0')
    text = build(save(tmp_path / 's.npz', scores), run)
    body = re.sub(r'<svg.*?</svg>|<style.*?</style>', '', text, flags=re.DOTALL)
    assert not re.search(r'-0(\.0*)?(?![.\d])', re.sub(r'<[^>]*>', ' ', body))
    assert cells(text, 'Epochs of A') == [
        ['0', '0.0000', '0.0000', '0.00', '0.00', '0'],
        ['1', '-0.5000', '-1.0000', '0.00', '0.00', '0'],
    ]


def test_a_run_has_curves_and_settings(tmp_path):
    lines = [f'{i},{2 / (i + 1)},{3 / (i + 1)},{10 * i},{12 * i},{0.1 / (i + 1)}' for i in range(8)]
    run = write_run(tmp_path / 'A', HEADER, *lines, settings='lr: 0.1\nmilestones: [1, 2]\nname: ""\n')
    text = build(run)
    assert headings(text) == ['Loss', 'Accuracy, %', 'Learning rate']
    assert 'best: epoch 7' in text
    assert cells(text, 'Best epochs') == [['A', '8', '7', 'Top-1, %', '0.2500', '0.3750', '70.00', '84.00', '70.00']]
    assert cells(text, 'Epochs of A')[1] == ['1', '1.0000', '1.5000', '10.00', '12.00', '0.05']
    assert cells(text, 'Settings of the runs') == [
        ['lr', '0.1'],
        ['milestones', '[1, 2]'],
        ['name', '&#39;&#39;'],
    ]
    plain = write_run(tmp_path / 'B', 'epoch,train_loss', '0,2')
    assert headings(build(plain)) == ['Loss'] and 'Settings' not in build(plain)
    other = write_run(tmp_path / 'C', HEADER, *lines, settings='lr: 0.1\nmilestones: [1, 2]\nname: x\n')
    both = build(run, other)
    assert {'A', 'C'} <= set(Page(both).texts_of('li'))
    settings = cells(both, 'Settings of the runs')
    assert settings == [['name', '&#39;&#39;', 'x'], ['lr', '0.1', '0.1'], ['milestones', '[1, 2]', '[1, 2]']]
    assert both.count('class=differs') == 1


@pytest.mark.parametrize('labelled', [True, False], ids=['targets', 'no targets'])
def test_names_are_escaped_everywhere(tmp_path, labelled):
    """Class names, file names, the model, the title, the folder of a run, its settings."""
    rng = np.random.default_rng(0)
    classes = len(HOSTILE)
    scores = rng.dirichlet(np.ones(classes), size=60).astype(np.float32)
    names = np.array([f'{HOSTILE[i % classes]}{i}' for i in range(60)])
    targets = np.arange(60) % classes if labelled else None
    path = save(tmp_path / 's.npz', Scores(scores, names, targets, np.array(HOSTILE), HOSTILE[0]))
    settings = ''.join(f'"{i}<b>": {h!r}\n' for i, h in enumerate(HOSTILE) if "'" not in h and h.isprintable())
    folder = write_run(tmp_path / 'x" onload="alert(1)', HEADER, '0,1,2,3,4,5', '1,1,2,3,4,5', settings=settings)
    (tmp_path / 'images').mkdir()
    for options in ({}, {'images': tmp_path / 'images'}, {'title': HOSTILE[4]}):
        page = Page(build(path, path, folder, folder, **options))
        shown = '\n'.join(text for _, text in page.texts)
        for name in HOSTILE[:-1]:
            assert name in shown
        assert 'a\ufffd\ufffdb' in shown  # what HTML cannot hold
        assert page.texts_of('h1') == [options.get('title') or '2 models compared']


def test_mistakes_have_thumbnails_or_say_why_not(tmp_path):
    images = tmp_path / 'images'
    names = ['a/fine.png', 'a/gone.png', 'a/broken.png', '../secret.png', str(tmp_path / 'secret.png'), 'a']
    picture(images, 'a/fine.png')
    picture(tmp_path, 'secret.png')
    (images / 'a/broken.png').write_bytes((images / 'a/fine.png').read_bytes()[:60])
    scores = np.tile(np.array([[0.9, 0.1]], dtype=np.float32), (len(names), 1))
    labels = np.ones(len(names), dtype=int)
    text = build(save(tmp_path / 's.npz', Scores(scores, np.array(names), labels, None, '')), images=images)
    reasons = re.findall(r'<div class="missing">(.*?)</div>', text)
    refused = 'refused: the name leads out of the folder'
    assert reasons == ['file not found', 'cannot be read as an image', refused, refused, 'not a file']
    (image,) = Page(text).all('img')
    with Image.open(io.BytesIO(base64.b64decode(image['src'].split(',')[1]))) as small:
        assert (small.format, small.size) == ('JPEG', (160, 107))


def test_the_command_writes_the_page_of_the_function(tmp_path, capsys):
    path = str(save(tmp_path / 's.npz', make_scores(50, 3)))
    run = str(write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5'))
    (tmp_path / 'images').mkdir()
    output = tmp_path / 'page.html'
    line = ['report', path, run, '-o', str(output), '--images', str(tmp_path / 'images'), '--title', 'T']
    assert main(line) == 0
    assert f'{output}: 1 run, 1 model, ' in capsys.readouterr().out
    assert output.read_text(encoding='utf-8') == build(path, run, images=tmp_path / 'images', title='T')


@pytest.mark.parametrize(
    ('sources', 'options', 'message'),
    [
        (['nowhere'], {}, 'nowhere does not exist: expected the folder of a run, or a score file'),
        (['empty'], {}, 'has no summary.csv'),
        (['text.npz'], {}, 'text.npz is no'),
        (['s.npz'], {'images': 'nowhere'}, 'nowhere is not a folder'),
        (['run'], {'images': 'empty'}, 'with --images at least one score file'),
        ([], {}, 'expected folders of runs, score files, or both'),
        (['s.npz'], {'output': 'none/page.html'}, 'no such folder'),
        (['run'] * 9, {}, 'at most 8 runs'),
    ],
)
def test_mistakes_of_the_user(tmp_path, monkeypatch, sources, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.npz').write_text('hello')
    save(tmp_path / 's.npz', make_scores(5, 3))
    write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        write_report(**{'output': 'page.html', 'sources': sources, **options})
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('missing', ['matplotlib', 'jinja2'])
def test_a_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, 'timm_vipriors.report.plots', raising=False)
    monkeypatch.delattr('timm_vipriors.report.plots', raising=False)
    with pytest.raises(UserError, match=r"pip install 'timm-vipriors\[report\]'"):
        build_report([write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5')])
