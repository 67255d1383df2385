"""Nothing in names gets into the page as markup, and no picture from outside the folder."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.inference.scores import Scores

from .html import Page, build
from .samples import HEADER, save, write_run
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
