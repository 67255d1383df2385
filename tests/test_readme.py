"""What the README shows is what there is."""

import re
import shlex
import subprocess

import pytest

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


def test_own_images(tmp_path, monkeypatch, capsys):
    """The five commands print what the page shows, but for the numbers."""
    make_demo_data(tmp_path / 'digits', per_class=5)
    (tmp_path / 'PHOTOS').symlink_to('digits/train')
    (tmp_path / 'NEW').mkdir()
    for name in '012':
        (tmp_path / 'NEW' / f'{name}.png').symlink_to(next((tmp_path / 'digits' / 'validation' / name).iterdir()))
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
    assert len([words for words in lines if words[0] == 'timm-vipriors']) == 6
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
