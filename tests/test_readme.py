"""What the README shows is what there is."""

import argparse
import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm

import timm_vipriors
from timm_vipriors.cli import SCRIPTS, main, make_parser

from .conftest import ROOT

README = (ROOT / 'README.md').read_text()
PROSE = re.sub(r'```.*?```', '', README, flags=re.DOTALL)
CARDS = {
    card.split('\n', 1)[0]: card
    for section in ('Models and losses', 'Data', 'Predict and combine')
    for card in README.split(f'\n## {section}\n')[1].split('\n## ')[0].split('\n### ')[1:]
}
SMALL = '--model test_efficientnet --img-size 32 --epochs 1 --workers 1 -b 40 --warmup-epochs 0 --no-amp'.split()


def blocks(language, text=README):
    return re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL)


def commands(card):
    """The words of the commands of a card that are marked to be run."""
    block = re.search(r'<!-- run -->\n```sh\n(.*?)```', CARDS[card], re.DOTALL)[1]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def test_python_blocks_are_all_seen():
    assert len(blocks('python')) == 9
    assert all(len(block.splitlines()) <= 12 for block in blocks('python'))


@pytest.mark.parametrize('block', blocks('python'), ids=lambda block: block.splitlines()[-1][:20])
def test_python_blocks_run(block):
    exec(compile(block, 'README.md', 'exec'), {})


def test_cards_are_complete():
    """Each says what the part is, its equation, when to use it and when not, with an example and its parameters."""
    assert len(CARDS) == 11
    listed = re.search(r'\*\*Parts:\*\*(.*?)\n\n', README, re.DOTALL)[1]
    assert re.findall(r'\[(.*?)\]\(#', listed) == list(CARDS)
    for name, card in CARDS.items():
        assert '**Use it**' in card and '**Not**' in card, name
        assert blocks('python', card) or '<!-- run -->' in card, name
        assert '<!-- parameters: ' in card or '<!-- flags: ' in card, name
        assert ('$$' in card) == (name != 'Subsets'), name


def test_equations_are_what_github_reads():
    equations = re.findall(r'^\$\$(.+?)\$\$$', README, re.DOTALL | re.MULTILINE)
    assert len(equations) == 10 == README.count('$$') / 2
    for equation in equations:
        assert not re.search(r'\\[^a-zA-Z]', equation), equation  # Markdown takes the backslash away
        assert equation.count('{') == equation.count('}')
        assert '\n\n' not in equation


PARAMETERS = re.findall(r'<!-- parameters: ([\w.]+) -->\n(.*?)\n\n', README, re.DOTALL)
FLAGS = re.findall(r'<!-- flags: (\w+) -->\n(.*?)\n\n', README, re.DOTALL)


def test_parameters_are_all_seen():
    assert len(PARAMETERS) == 10
    assert len(FLAGS) == 2


def default(value):
    return '' if value is inspect.Parameter.empty else repr(value)


@pytest.mark.parametrize(('name', 'text'), PARAMETERS, ids=[name for name, _ in PARAMETERS])
def test_parameters_and_their_defaults(name, text):
    module, _, attribute = name.rpartition('.')
    signature = inspect.signature(getattr(importlib.import_module(module), attribute))
    there = {p.name: default(p.default) for p in signature.parameters.values() if p.name not in ('device', 'dtype')}
    shown = dict(re.findall(r'`(\w+)(?:=([^`]+))?`', text))
    assert {key: value for key, value in shown.items() if value or key in there} == there


@pytest.mark.parametrize(('name', 'text'), FLAGS, ids=[name for name, _ in FLAGS])
def test_flags_and_their_defaults(name, text):
    (choices,) = (a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    there = {
        action.option_strings[-1]: '' if action.required else repr(action.default)
        for action in choices[name]._actions
        if action.option_strings and action.dest != 'help'
    }
    assert dict(re.findall(r'`(--[\w-]+)(?:=([^`]+))?`', text)) == there


def slugs(text):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r'^#+ (.*)$', re.sub(r'```.*?```', '', text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def test_links_lead_somewhere():
    links = [link for link in re.findall(r'\]\(([^)]*)\)', PROSE) if not link.startswith('https://')]
    assert len(links) >= 25
    for link in links:
        path, _, anchor = link.partition('#')
        assert (ROOT / path).is_file() or not path, link
        text = (ROOT / path).read_text() if path.endswith('.md') else README
        assert not anchor or anchor in slugs(text), link


def test_its_own_citation():
    assert re.search(r'version = \{(.*?)\}', README)[1] == timm_vipriors.__version__


@pytest.fixture
def trained(few_digits, tmp_path, monkeypatch):
    """A folder with DATA and two trainings, RUN and BASELINE, as the commands of the cards have it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    (tmp_path / 'DATA').symlink_to(few_digits)
    assert main(['train', 'DATA', *SMALL, '--experiment', 'RUN']) == 0
    shutil.copytree('output/train/RUN', 'output/train/BASELINE')
    return tmp_path


def test_commands_of_the_cards_run(trained):
    made = {
        'Tree supervision': {'tree.json', 'tree.png'},
        'Views and ensembles': {'b7.npz', 'b3.npz', 'average.csv', 'submission.csv', 'vote.csv'},
        'Report': {'report.html'},
    }
    for card, files in made.items():
        before = set(os.listdir())
        for words in commands(card):
            assert words[0] == 'timm-vipriors'
            small = SMALL if words[1] == 'train' else ['-j', '1'] if words[1] == 'predict' else []
            assert main([*words[1:], *small]) == 0, words
        assert set(os.listdir()) - before == files
    assert len(os.listdir('output/train')) == 3  # that with the tree too


@pytest.mark.slow
def test_commands_of_the_recipes_run(trained, monkeypatch, capfd):
    assert len(commands('Recipes and ablations')) == 6
    for words in commands('Recipes and ablations'):
        dry = words[0].startswith('./') or words[1:3] == ['recipe', 'run']
        monkeypatch.setenv('DRY_RUN', '1') if dry else monkeypatch.delenv('DRY_RUN', raising=False)
        monkeypatch.setenv('PYTHON', sys.executable)
        if words[0].startswith('./'):
            subprocess.run([ROOT / words[0], *words[1:]], check=True)
        else:
            small = [*SMALL, '--seeds', '1'] if words[1] == 'ablation' else []
            assert main([*words[1:], *small]) == 0, words
    out = capfd.readouterr().out
    assert out.count('--model dsk_resnext50_32x4d') >= 1
    rows = re.findall(r'^\| `(.*?)` \|', Path('comparison/table.md').read_text(), re.MULTILINE)
    assert rows == commands('Recipes and ablations')[3][4:6]


def test_table_of_models_is_complete_and_right():
    rows = dict(re.findall(r'^\| `(\w+)` \|.*\| ([\d.]+) M \|$', README, re.MULTILINE))
    assert set(rows) == set(timm.list_models(module='dsk_resnext'))
    for name, millions in rows.items():
        model = timm.create_model(name, device='meta')
        assert f'{sum(p.numel() for p in model.parameters()) / 1e6:.1f}' == millions, name


def test_commands_exist():
    seen = 0
    for line in '\n'.join(blocks('sh')).replace('\\\n', '').splitlines():
        words = shlex.split(line, comments=True)
        for word in words:
            if word.startswith('./'):
                assert os.access(ROOT / word, os.X_OK), word
                seen += 1
        if words[:1] == ['timm-vipriors']:
            if words[1] not in SCRIPTS:
                args, others = make_parser().parse_known_args(words[1:])
                assert not others or hasattr(args, 'other_flags')
            seen += 1
    assert seen == 28


def test_data_section(digits, tmp_path, monkeypatch, capsys):
    """Its commands in turn, on the digits, and the block that it shows."""
    section = README.split('\n## Data\n')[1].split('\n## ')[0]
    block = re.search(r'<!-- run -->\n```sh\n(.*?)```', section, re.DOTALL)[1]
    (tmp_path / 'IMAGENET').mkdir()
    (tmp_path / 'IMAGENET' / 'train').symlink_to(digits / 'validation')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    small = '--model test_efficientnet --img-size 32 --epochs 1 --workers 1 -b 128 --warmup-epochs 0'.split()
    for line in block.splitlines():
        words = shlex.split(line)[1:]
        assert main([*words, *(small if words[0] == 'train' else [])]) == 0
    for name in ('train', 'val'):
        made, again = (
            sorted(p.relative_to(root) for p in Path(root, name).rglob('*.png')) for root in ('DATA', 'AGAIN')
        )
        assert made == again
        assert len(made) == 500
    err = capsys.readouterr().err
    shown = re.search(r'```text\n(.*?)```', section, re.DOTALL)[1]
    shown = shown.replace('50,000', '500').replace('1,000', '10').replace('390 batches', '3 batches')
    shown = shown.replace('80 images left', '116 images left')
    assert shown in err
    assert 'all 1,000 images can be read' in err


def test_pictures_exist():
    pictures = re.findall(r'!\[.*?\]\((.*?)\)', README)
    assert len(pictures) == 5
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_the_two_commands_are_marked():
    for mark in ('demo command', 'test command'):
        command = re.search(rf'<!-- {mark} -->\n```sh\n(.*)\n```', README)[1]
        assert command.startswith('pip install ')
    script = (ROOT / '.ci' / 'run').read_text()
    assert 'test command' in script


def test_timms_own_script_with_no_runner(timm_scripts, few_digits, tmp_path):
    """The purest form: python train.py --device-modules timm_vipriors."""
    line = next(line for block in blocks('sh') for line in block.splitlines() if line.startswith('python train.py'))
    words = shlex.split(line.replace('DATA', shlex.quote(str(few_digits))))
    words = [sys.executable, str(timm_scripts / words[1]), *words[2:]]
    flags = '--model test_dsk_resnext --device cpu --epochs 1 -b 20 --img-size 32 --num-classes 10 --workers 1'
    # the checkout's own timm must not stand before the installed one, as it would when started from there
    code = f'import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path({words[1]!r}, run_name="__main__")'
    done = subprocess.run(
        [sys.executable, '-c', code, words[1], *words[2:], *flags.split(), '--experiment', 'pure'],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'output' / 'train' / 'pure' / 'summary.csv').exists()


def test_changelog_has_the_unreleased_section():
    text = (ROOT / 'CHANGELOG.md').read_text()
    assert '## [Unreleased]' in text


@pytest.mark.parametrize('name', ['pyproject.toml', 'README.md', 'CHANGELOG.md', 'LICENSE'])
def test_top_level(name):
    assert (ROOT / name).is_file()
    allowed = {'timm_vipriors', 'train_recipes', 'tests', 'pyproject.toml', 'README.md', 'CHANGELOG.md', 'LICENSE'}
    tracked = subprocess.run(['git', 'ls-files'], cwd=ROOT, text=True, capture_output=True).stdout.split('\n')
    tops = {path.split('/')[0] for path in tracked if path}
    assert not {top for top in tops if not top.startswith('.')} - allowed
