"""The site can be built, and has every public name."""

import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest

from timm_vipriors.cli import make_parser

from .conftest import ROOT

MODULES = ('models', 'models.dsk_resnext', 'layers', 'loss', 'hierarchy', 'task', 'data', 'inference')
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The site, built without a warning."""
    folder = tmp_path_factory.mktemp('docs') / 'site'
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-f', '.docs/mkdocs.yml', '-d', str(folder)]
    env = {**os.environ, 'NO_MKDOCS_2_WARNING': '1'}  # what mkdocs-material has to say of its own future
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert 'WARNING' not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope='module')
def anchors(site):
    return {anchor for page in site.rglob('index.html') for anchor in re.findall(r'\bid="([^"]+)"', page.read_text())}


def public_names(module):
    """The names of `__all__`, or where there is none all that is defined in the module."""
    if hasattr(module, '__all__'):
        return module.__all__
    things = inspect.getmembers(module, lambda x: inspect.isclass(x) or inspect.isfunction(x))
    return [name for name, thing in things if thing.__module__ == module.__name__ and name[0] != '_']


@pytest.mark.parametrize('name', MODULES)
def test_every_public_name_has_a_place(name, anchors):
    module = importlib.import_module(f'timm_vipriors.{name}')
    names = public_names(module)
    assert names
    for each in names:
        thing = getattr(module, each)
        # a function with the name of its module is found under that module only
        places = {f'{module.__name__}.{each}', f'{getattr(thing, "__module__", module.__name__)}.{each}'}
        assert places & anchors, f'{module.__name__}.{each}'


def test_reference_has_no_broken_entries(site):
    """Names are names, not `filenames,` out of a line for several, and no module shows an expression as a value."""
    pages = [page.read_text() for page in (site / 'reference').rglob('index.html')]
    assert len(pages) == 8
    for page in pages:
        names = [re.sub('<[^>]+>', '', name) for name in re.findall(r'<b>(<code>.*?)</b>', page)]
        assert [name for name in names if not re.fullmatch(r'\**\w+', name)] == []
        assert ' for base in ' not in re.sub('<[^>]+>', '', page)


def test_pages_from_elsewhere(site, anchors):
    """README and guides with their pictures and links, and the flags of every command."""
    assert 'href="ablations/' in (site / 'index.html').read_text()
    pictures = {
        site / page.parent / picture
        for page in site.rglob('index.html')
        for picture in re.findall(r'<img [^>]*src="([^"]*images/[^"]+)"', page.read_text())
    }
    assert len(pictures) == 5
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    assert (site / 'files' / 'plain_torch.py').read_bytes() == (ROOT / 'tests/examples/plain_torch.py').read_bytes()
    commands = make_parser()._subparsers._group_actions[0].choices
    assert {'train', 'predict', 'report'} <= set(commands) <= anchors
    help_texts = (site / 'reference' / 'commands' / 'index.html').read_text()
    for text in ('usage: timm-vipriors ensemble vote', '--criterion-kwargs', '--reparam', '--results-file'):
        assert text in help_texts
    # nothing is fetched from elsewhere but the script for the equations
    index = (site / 'index.html').read_text()
    elsewhere = re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="(https?://[^"]+)"', index)
    assert [url for url in elsewhere if 'mathjax' not in url] == []
