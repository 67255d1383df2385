"""What the README shows is what there is."""

import re
import shlex
import subprocess

import numpy as np
import pytest
from PIL import Image

import timm_vipriors
from timm_vipriors.cli import main
from timm_vipriors.data import make_demo_data

from .conftest import ROOT
from .markdown import check_command, check_links, code_blocks, command_lines

README = (ROOT / 'README.md').read_text()


def test_it_is_short_and_reads_on_a_package_index():
    assert len(README.splitlines()) <= 220
    assert '$$' not in README and '![' not in README  # neither equations nor relative pictures are shown there


@pytest.mark.parametrize('block', code_blocks(README, 'python'))
def test_python_blocks_run(block):
    assert len(block.splitlines()) <= 12
    exec(compile(block, 'README.md', 'exec'), {})


def odd_picture(path, folder):
    """Write a digit into a folder, larger, with one of the names and forms that photos have."""
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.open(path).convert('L').resize((48, 40))
    number = len(list(folder.iterdir()))
    if number % 5 == 0:
        image.convert('CMYK').save(folder / f'IMG {number}.JPG')
    elif number % 5 == 1:
        turned = Image.Exif()
        turned[0x0112] = 6  # to be shown turned by 90 degrees
        image.convert('RGB').save(folder / f'gedreht-ö {number}.Jpeg', exif=turned)
    elif number % 5 == 2:
        Image.fromarray(np.asarray(image).astype(np.uint16) * 257).save(folder / f"16 bit's {number}.png")
    elif number % 5 == 3:
        image.save(folder / f'写真 ({number}).gif')
    else:
        image.convert('RGBA').save(folder / f'a,b;{number}.webp')


def test_own_images(tmp_path, monkeypatch, capsys):
    """The five commands print what the page shows, but for the numbers: with pictures as people have them."""
    make_demo_data(tmp_path / 'digits', per_class=5)
    for path in (tmp_path / 'digits' / 'train').glob('*/*'):
        odd_picture(path, tmp_path / 'PHOTOS' / f"Größe {path.parent.name}, Anna's (neu)")
    for name in '012':
        odd_picture(next((tmp_path / 'digits' / 'validation' / name).iterdir()), tmp_path / 'NEW')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    block = re.search(r'<!-- own images -->\n```console\n(.*?)```', README, re.DOTALL)[1].replace('\\\n', '')
    steps = re.findall(r'^\$ timm-vipriors (.*)\n((?:[^$].*\n)*)', block, re.MULTILINE)
    assert len(steps) == 5
    for line, output in steps:
        small = {'suggest': '--epochs 1 --warmup-epochs 0 --workers 1', 'predict': '-j 1'}.get(line.split()[0], '')
        assert main(shlex.split(f'{line} {small}')) == 0
        printed, shown = (re.sub(r'\d[\d,.]*', '#', text) for text in (capsys.readouterr().out, output))
        assert printed.endswith(shown) and shown


def test_commands_exist():
    lines = command_lines(README)
    assert len([words for words in lines if words[0] == 'timm-vipriors']) == 9
    for words in lines:
        check_command(words)


def test_links_lead_somewhere():
    assert check_links(README, ROOT) >= 15


@pytest.mark.parametrize('mark', ['demo command', 'test command'])
def test_the_two_commands_are_marked(mark):
    assert re.search(rf'<!-- {mark} -->\n```sh\n(.*)\n```', README)[1].startswith('pip install ')
    assert 'test command' in (ROOT / '.ci' / 'run').read_text()


def test_its_own_citation():
    assert re.search(r'version = \{(.*?)\}', README)[1] == timm_vipriors.__version__


def test_top_level():
    allowed = {'timm_vipriors', 'train_recipes', 'tests', 'pyproject.toml', 'README.md', 'CHANGELOG.md', 'LICENSE'}
    tracked = subprocess.run(['git', 'ls-files'], cwd=ROOT, text=True, capture_output=True).stdout.split()
    assert {path.split('/')[0] for path in tracked if path[0] != '.'} <= allowed
    assert '## [Unreleased]' in (ROOT / 'CHANGELOG.md').read_text()
