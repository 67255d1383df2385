"""The page of a report: that it is sound HTML, says what it must, and lets nothing in from names."""

import argparse
import base64
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.commands import report
from timm_vipriors.errors import UserError
from timm_vipriors.inference.scores import Scores

from .test_figures import HEADER, make_scores, write_run
from .test_images import picture

HOSTILE = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    '</style><b>',
    '&lt;',
    'a\ud800b\x00',
]
VOID = {'meta', 'img', 'br'}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects elements, texts by element and ids."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

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
        return [attrs for name, attrs in self.elements if name == tag]

    def texts_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


@pytest.fixture
def make(tmp_path):
    """Run the command on some sources; returns the page's text."""

    def run(*arguments: object, force: bool = True) -> str:
        parser = argparse.ArgumentParser()
        report.add(parser.add_subparsers())
        line = ['report', *map(str, arguments), '-o', str(tmp_path / 'page.html'), *(['--force'] if force else [])]
        args = parser.parse_args(line)
        assert args.run(args) == 0
        text = (tmp_path / 'page.html').read_text(encoding='utf-8')
        check(text)
        return text

    return run


def check(text: str) -> None:
    """What holds for every page."""
    page = Page(text)
    for drawing in re.findall(r'<svg.*?</svg>', text, re.DOTALL):
        ET.fromstring(drawing)
    assert 'nan' not in ' '.join(re.findall(r' (?:x|y|width|height|points|cx|cy|x1|y1|x2|y2)="[^"]*"', text))
    assert not re.search(r'https?://|//[a-z]|url\(|@import', text.split('<body>')[0])  # nothing from elsewhere
    allowed = {'html', 'head', 'meta', 'title', 'style', 'body', 'main', 'header', 'footer', 'nav', 'section', 'div'}
    allowed |= {'h1', 'h2', 'h3', 'h4', 'p', 'ul', 'li', 'dl', 'dt', 'dd', 'a', 'b', 'strong', 'code', 'span', 'bdi'}
    allowed |= {'table', 'caption', 'thead', 'tbody', 'tr', 'th', 'td', 'details', 'summary', 'figure', 'figcaption'}
    allowed |= {'img', 'svg', 'rect', 'line', 'circle', 'polyline', 'text'}
    assert {tag for tag, _ in page.elements} <= allowed
    for tag, attrs in page.elements:
        assert not any(name.startswith('on') for name in attrs), (tag, attrs)
        assert attrs.get('src', 'data:image/jpeg;base64,').startswith('data:image/jpeg;base64,')
        assert attrs.get('href', '#').startswith('#')
    ids = [attrs['id'] for _, attrs in page.elements if 'id' in attrs]
    assert len(ids) == len(set(ids)) and {a['href'][1:] for a in page.all('a')} <= set(ids)
    assert page.all('html') == [{'lang': 'en'}]
    assert len(page.texts_of('h1')) == 1
    assert any(attrs.get('name') == 'viewport' for attrs in page.all('meta'))
    assert all('aria-label' in svg or svg.get('aria-hidden') == 'true' for svg in page.all('svg'))


def save(path, scores: Scores):
    scores.save(path)
    return path


def headings(text: str) -> list[str]:
    return Page(text).texts_of('h3')


def test_ten_classes(make, tmp_path):
    text = make(save(tmp_path / 's.npz', make_scores(1297, 10, unknown=7)))
    assert headings(text) == [
        'Confusion',
        'Calibration',
        'Accuracy by class',
        'Most confused pairs',
        'Most confident mistakes',
    ]
    assert 'Confusion matrix of 10 classes' in text
    assert 'Left out: 7 images without a label' in text
    assert Page(text).texts_of('dt') == ['Top-1 accuracy', 'Top-5 accuracy', 'Cross-entropy', 'Calibration error']
    assert text.count('n\u00a0=\u00a01,290') == 4
    assert len(text) < 200_000


def test_a_thousand_classes_have_no_matrix(make, tmp_path):
    text = make(save(tmp_path / 's.npz', make_scores(3000, 1000)))
    classes = ['Accuracy by class', 'The 15 worst classes', 'The 15 best classes']
    assert headings(text) == ['Calibration', *classes, 'Most confused pairs', 'Most confident mistakes']
    assert 'matrix' not in text.split('</style>')[1]
    tables = re.findall(r'<caption>The 15 (worst|best) classes</caption>(.*?)</table>', text, re.DOTALL)
    worst, best = ([float(a) for a in re.findall(r'([\d.]+)\u00a0%', body)] for _, body in tables)
    assert len(worst) == len(best) == 15
    assert worst == sorted(worst) and best == sorted(best, reverse=True) and worst[-1] < best[-1]
    assert re.search(r'The first 30 of [\d,]+ pairs', text)
    assert len(text) < 100_000


@pytest.mark.parametrize(('rows', 'classes'), [(1, 10), (1, 1000), (40, 2), (1, 1), (100, 31), (400, 61)])
def test_odd_sizes(make, tmp_path, rows, classes):
    text = make(save(tmp_path / 's.npz', make_scores(rows, classes)))
    assert ('Confusion matrix' in text) == (classes <= 30)
    assert ('five classes or fewer' in text) == (classes <= 5)
    assert ('worst classes' in text) == (classes > 60 and rows > 30)


def test_no_mistakes(make, tmp_path):
    scores = Scores(np.eye(3, dtype=np.float32), np.array(['a', 'b', 'c']), np.arange(3), None, '')
    text = make(save(tmp_path / 's.npz', scores))
    assert 'There are none: 3 images are right.' in text
    assert 'No image was taken for another class.' in text


@pytest.mark.parametrize(
    ('wrong', 'note'),
    [(1, 'The only mistake.'), (24, 'All 24 mistakes.'), (25, 'The 24 of 25 mistakes with the highest')],
)
def test_it_says_how_many_mistakes_are_shown(make, tmp_path, wrong, note):
    targets = np.array([1] * wrong + [0] * 3)
    scores = np.tile(np.array([[0.75, 0.25]], dtype=np.float32), (len(targets), 1))
    names = np.array([f'{i}.png' for i in range(len(targets))])
    text = make(save(tmp_path / 's.npz', Scores(scores, names, targets, None, '')))
    assert f'<p class="note">{note}' in text
    table = text.split('Most confident mistakes</h3>')[1]
    assert re.findall(r'<tr><td>(\d+).png', table) == [str(i) for i in range(min(wrong, 24))]


@pytest.mark.parametrize('classes', [10, 100])
def test_without_labels(make, tmp_path, classes):
    scores = make_scores(300, classes)
    text = make(save(tmp_path / 's.npz', Scores(scores.scores, scores.filenames, None, scores.class_names, 'm')))
    assert 'The labels are missing' in text
    assert headings(text) == ['Confidence of the predictions', 'Predicted classes']


def test_a_comparison_bolds_only_what_was_measured_on_the_same_images(make, tmp_path):
    good, bad = make_scores(200, 6), make_scores(200, 6)
    bad.scores[:100] = bad.scores[:100, ::-1]
    one, other = save(tmp_path / 'one.npz', good), save(tmp_path / 'other.npz', bad)
    turned = Scores(bad.scores[::-1], bad.filenames[::-1], bad.targets[::-1], bad.class_names, 'model')
    text = make(one, save(tmp_path / 'turned.npz', turned))  # rows belong together by name
    assert 'the best figure of each column is bold' in text
    first, second = re.findall(r'<tr><td><a .*?</tr>', text)
    assert first.count('<strong>') >= 3 and second.count('<strong>') == 0
    assert Page(text).texts_of('h2') == ['Comparison', f'model ({one})', f'model ({tmp_path}/turned.npz)']
    text = make(one, other, save(tmp_path / 'two.npz', make_scores(20, 2)), tmp_path / 'one.npz')
    assert 'cannot be compared directly' in text and '<strong>' not in text
    assert text.count('<dl') == 4


def test_names_are_escaped_everywhere(make, tmp_path):
    rng = np.random.default_rng(0)
    classes = len(HOSTILE)
    scores = rng.dirichlet(np.ones(classes), size=60).astype(np.float32)
    names = np.array([f'{HOSTILE[i % classes]}{i}' for i in range(60)])
    path = save(tmp_path / 's.npz', Scores(scores, names, np.arange(60) % classes, np.array(HOSTILE), HOSTILE[0]))
    folder = write_run(
        tmp_path / HOSTILE[3].replace('/', '!'), HEADER, '0,1,2,3,4,5', '1,1,2,3,4,5', settings=f'{"<b>"}: "<i>"\n'
    )
    (tmp_path / 'images').mkdir()
    for arguments in ([], ['--images', tmp_path / 'images'], ['--title', HOSTILE[1]]):
        page = Page(make(path, folder, folder, *arguments))
        assert any(HOSTILE[0] in text for text in page.texts_of('td') + page.texts_of('bdi'))
        assert page.texts_of('h1') == [HOSTILE[1] if '--title' in arguments else HOSTILE[0]]


def test_a_run_has_curves_and_settings(make, tmp_path):
    lines = [f'{i},{2 / (i + 1)},{3 / (i + 1)},{10 * i},{12 * i},{0.1 / (i + 1)}' for i in range(8)]
    run = write_run(tmp_path / 'A', HEADER, *lines, settings='lr: 0.1\nmilestones: [1, 2]\nname: ""\n')
    text = make(run)
    assert headings(text) == ['Loss', 'Accuracy, %', 'Learning rate']
    assert 'best: epoch 7' in text
    assert '<td>[1, 2]</td>' in text and '<td>&#x27;&#x27;</td>' in text
    plain = write_run(tmp_path / 'B', 'epoch,train_loss', '0,2')
    assert headings(make(plain)) == ['Loss'] and 'Settings' not in make(plain)
    both = make(run, plain)
    assert {'A', 'B'} <= set(Page(both).texts_of('span'))
    assert 'The first 3 differ' in both
    other = write_run(tmp_path / 'C', HEADER, *lines, settings='lr: 0.1\nmilestones: [1, 2]\nname: x\n')
    settings = make(run, other).split('<caption>Settings of the trainings')[1]
    assert re.findall(r'<tr><td><code>(\w+)', settings) == ['name', 'lr', 'milestones']  # what differs comes first


def test_settings_that_stand_for_gigabytes_stay_short(make, tmp_path):
    bomb = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{c}: &{c} [{", ".join([f"*{p}"] * 9)}]\n' for p, c in zip('abcdefgh', 'bcdefghi', strict=True)
    )
    assert len(make(write_run(tmp_path / 'A', HEADER, '0,1,2,3,4,5', settings=bomb))) < 200_000


def test_mistakes_have_thumbnails_or_say_why_not(make, tmp_path):
    images = tmp_path / 'images'
    names = ['a/fine.png', 'a/gone.png', 'a/broken.png', '../secret.png', str(tmp_path / 'secret.png'), 'a']
    picture(images, 'a/fine.png')
    picture(tmp_path, 'secret.png')
    (images / 'a/broken.png').write_bytes((images / 'a/fine.png').read_bytes()[:60])
    scores = np.tile(np.array([[0.9, 0.1]], dtype=np.float32), (len(names), 1))
    text = make(
        save(tmp_path / 's.npz', Scores(scores, np.array(names), np.ones(len(names), dtype=int), None, '')),
        '--images',
        images,
    )
    reasons = re.findall(r'<div class="missing">(.*?)</div>', text)
    refused = 'refused: the name leads out of the folder'
    assert reasons == ['file not found', 'cannot be read as an image', refused, refused, 'not a file']
    (image,) = Page(text).all('img')
    with Image.open(io.BytesIO(base64.b64decode(image['src'].split(',')[1]))) as small:
        assert (small.format, small.size) == ('JPEG', (160, 107))


def test_a_page_is_not_written_over_without_force(make, tmp_path):
    path = save(tmp_path / 's.npz', make_scores(5, 3))
    make(path, force=False)
    (tmp_path / 'page.html').write_text('mine')
    with pytest.raises(UserError, match=r'page\.html exists: .* --force'):
        make(path, force=False)
    assert (tmp_path / 'page.html').read_text() == 'mine'
    assert 'mine' not in make(path)


def test_a_failed_write_leaves_nothing(make, tmp_path, monkeypatch):
    path = save(tmp_path / 's.npz', make_scores(5, 3))
    before = sorted(tmp_path.iterdir())

    def fail(*_):
        raise OSError('no space')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(UserError, match='cannot be written: no space'):
        make(path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere'], 'nowhere does not exist: expected a folder that a training wrote, or a score file'),
        (['empty'], 'has no summary.csv'),
        (['text.npz'], 'text.npz is no'),
        (['s.npz', '--images', 'nowhere'], 'nowhere is not a folder'),
        (['run', '--images', 'empty'], 'give a score file too'),
        (['s.npz', '-o', 'empty'], 'is a folder: name a file in it'),
        (['s.npz', '-o', 's.npz', '--force'], 'is one of the files to report on'),
        (['s.npz', '-o', 'none/page.html'], 'no such folder'),
        (['run'] * 9, 'at most 8 trainings'),
    ],
)
def test_mistakes_of_the_user(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.npz').write_text('hello')
    save(tmp_path / 's.npz', make_scores(5, 3))
    write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5')
    parser = argparse.ArgumentParser()
    report.add(parser.add_subparsers())
    args = parser.parse_args(['report', '-o', 'page.html', *arguments])
    with pytest.raises(UserError, match=message):
        args.run(args)
    assert not (tmp_path / 'page.html').exists()
