"""The reference can be built, and has every public name."""

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
    pages = [page.read_text() for page in site.rglob('index.html')]
    assert len(pages) == 12
    return {anchor for page in pages for anchor in re.findall(r'\bid="([^"]+)"', page)}


def public_names(module):
    """The names of `__all__`, or where there is none all that is defined in the module."""
    if hasattr(module, '__all__'):
        return module.__all__
    things = inspect.getmembers(module, lambda x: inspect.isclass(x) or inspect.isfunction(x))
    return [name for name, thing in things if thing.__module__ == module.__name__ and name[0] != '_']


@pytest.mark.slow
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


@pytest.mark.slow
def test_pages_from_elsewhere(site, anchors):
    """The README with its pictures and links, and the help of every command."""
    index = (site / 'index.html').read_text()
    assert 'href="measurements/' in index
    pictures = re.findall(r'<img [^>]*src="(images/[^"]+)"', index)
    assert len(pictures) == 5
    assert all((site / picture).stat().st_size > 1000 for picture in pictures)
    assert (site / 'files' / 'plain_torch.py').read_bytes() == (ROOT / 'tests/examples/plain_torch.py').read_bytes()
    commands = make_parser()._subparsers._group_actions[0].choices
    assert {'train', 'predict', 'report'} <= set(commands) <= anchors
    assert 'usage: timm-vipriors ensemble vote' in (site / 'commands' / 'index.html').read_text()
    # nothing is fetched from elsewhere but the script for the equations
    elsewhere = re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="(https?://[^"]+)"', index)
    assert [url for url in elsewhere if 'mathjax' not in url] == []
