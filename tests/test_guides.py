"""What the guides show is what there is."""

import importlib
import inspect
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from PIL import Image

from timm_vipriors.cli import main

from .conftest import ROOT
from .markdown import check_command, check_links, code_blocks, command_lines, subparser

FOLDER = ROOT / '.docs' / 'pages'
GUIDES = {path.stem: path.read_text() for path in FOLDER.glob('*.md')}
SMALL = '--model test_efficientnet --img-size 32 --epochs 1 --workers 1 -b 40 --warmup-epochs 0 --no-amp'.split()
PARTS = {
    'dsk': 'DSK-ResNeXt',
    'losses': 'Positive class loss|Center loss|Tree supervision|Cosine and focal cosine loss|All losses together',
    'small_data': 'LSB swap|Subsets',
    'predictions': 'Views and ensembles|Report',
    'ablations': 'Recipes',
}
PYTHON = [
    pytest.param(name, block, id=f'{name}-{i}', marks=[pytest.mark.slow] * ('onnx' in block))
    for name, text in GUIDES.items()
    for i, block in enumerate(code_blocks(text, 'python'))
]


def card(page, title):
    """The section of a part."""
    return re.search(rf'^##? {title}\n(.*?)(?=^## |\Z)', GUIDES[page], re.DOTALL | re.MULTILINE)[1]


def marked(page, title):
    """The words of the commands of a section that are marked to be run."""
    block = re.search(r'<!-- run -->\n```sh\n(.*?)```', card(page, title), re.DOTALL)[1]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.parametrize(('name', 'block'), PYTHON)
def test_python_blocks_run(name, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(block.splitlines()) <= 12
    exec(compile(block, name, 'exec'), {})


@pytest.mark.parametrize(
    ('page', 'title'), [(page, title) for page, titles in PARTS.items() for title in titles.split('|')]
)
def test_a_part_is_described_completely(page, title):
    """What it is, its equation, when to use it and when not, an example and its parameters."""
    text = card(page, title)
    assert '**Use it**' in text and '**Not**' in text
    assert code_blocks(text, 'python') or '<!-- run -->' in text
    assert '<!-- parameters: ' in text or '<!-- flags: ' in text
    assert ('$$' in text) == (title != 'Subsets')


@pytest.mark.parametrize('name', GUIDES)
def test_links_pictures_commands_and_equations(name):
    text = GUIDES[name]
    check_links(text, FOLDER)
    for words in command_lines(text):
        check_command([re.sub(r'^\$SLURM_\w+$', '1', word) for word in words])
    for equation in re.findall(r'^\$\$(.+?)\$\$$', text, re.DOTALL | re.MULTILINE):
        assert not re.search(r'\\[^a-zA-Z]', equation), equation  # Markdown removes the backslash
        assert equation.count('{') == equation.count('}') and '\n\n' not in equation


PARAMETERS = [
    m for text in GUIDES.values() for m in re.findall(r'<!-- parameters: ([\w.]+) -->\n(.*?)\n\n', text + '\n', re.S)
]
FLAGS = [m for text in GUIDES.values() for m in re.findall(r'<!-- flags: (\w+) -->\n(.*?)\n\n', text + '\n', re.S)]


@pytest.mark.parametrize(('name', 'text'), PARAMETERS, ids=[name for name, _ in PARAMETERS])
def test_parameters_and_their_defaults(name, text):
    module, _, attribute = name.rpartition('.')
    parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters.values()
    there = {p.name: '' if p.default is p.empty else repr(p.default) for p in parameters}
    there = {key: value for key, value in there.items() if key not in ('device', 'dtype')}
    shown = dict(re.findall(r'`(\w+)(?:=([^`]+))?`', text))
    assert {key: value for key, value in shown.items() if value or key in there} == there


@pytest.mark.parametrize(('name', 'text'), FLAGS, ids=[name for name, _ in FLAGS])
def test_flags_and_their_defaults(name, text):
    there = {
        action.option_strings[-1]: '' if action.required else repr(action.default)
        for action in subparser(name)._actions
        if action.option_strings and action.dest != 'help'
    }
    assert dict(re.findall(r'`(--[\w-]+)(?:=([^`]+))?`', text)) == there


@pytest.mark.slow
def test_table_of_models_is_complete_and_right():
    rows = dict(re.findall(r'^\| `(\w+)` \|.*\| ([\d.]+) M \|$', GUIDES['dsk'], re.MULTILINE))
    assert set(rows) == set(timm.list_models(module='dsk_resnext'))
    for name, millions in rows.items():
        model = timm.create_model(name, device='meta')
        assert f'{sum(p.numel() for p in model.parameters()) / 1e6:.1f}' == millions, name


@pytest.fixture
def trained(few_digits, tmp_path, monkeypatch):
    """A folder with DATA and two runs, RUN and BASELINE, as the commands of the guides have it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    (tmp_path / 'DATA').symlink_to(few_digits)
    (tmp_path / 'PHOTOS').symlink_to(few_digits / 'validation' / '3')
    Image.new('RGB', (40, 50)).save('photo.jpg')
    assert main(['train', 'DATA', *SMALL, '--experiment', 'RUN']) == 0
    shutil.copytree('output/train/RUN', 'output/train/BASELINE')
    return tmp_path


@pytest.mark.slow
def test_commands_run(trained):
    made = {
        ('losses', 'Tree supervision'): {'tree.json', 'tree.png'},
        ('predictions', 'Photos and submissions'): {'out.csv', 'classes.json'},
        ('predictions', 'Views and ensembles'): {'b7.npz', 'b3.npz', 'average.csv', 'submission.csv', 'vote.csv'},
        ('predictions', 'Report'): {'report.html'},
    }
    for section, files in made.items():
        before = set(os.listdir())
        for words in marked(*section):
            small = SMALL if words[1] == 'train' else ['-j', '1'] if words[1] == 'predict' else []
            assert main([*words[1:], *small]) == 0, words
        assert set(os.listdir()) - before == files
    assert len(os.listdir('output/train')) == 3  # that with the tree too


@pytest.mark.slow
def test_commands_of_the_recipes_run(trained, monkeypatch, capfd):
    lines = marked('ablations', 'Recipes')
    assert len(lines) == 6
    for words in lines:
        dry = words[0].startswith('./') or words[1:3] == ['recipe', 'run']
        monkeypatch.setenv('DRY_RUN', '1') if dry else monkeypatch.delenv('DRY_RUN', raising=False)
        monkeypatch.setenv('PYTHON', sys.executable)
        if words[0].startswith('./'):
            subprocess.run([ROOT / words[0], *words[1:]], check=True)
        else:
            # a --model for all rows is refused: these are the rows' own networks
            small = [*SMALL[2:], '--seeds', '1'] if words[1] == 'ablation' else []
            assert main([*words[1:], *small]) == 0, words
    assert '--model dsk_resnext50_32x4d' in capfd.readouterr().out
    rows = re.findall(r'^\| `(.*?)` \|', Path('comparison/table.md').read_text(), re.MULTILINE)
    assert rows == lines[3][4:6]


@pytest.mark.slow
def test_subsets(digits, tmp_path, monkeypatch, capsys):
    """The commands in turn, on the digits, and the lines before the start that the page shows."""
    (tmp_path / 'IMAGENET').mkdir()
    (tmp_path / 'IMAGENET' / 'train').symlink_to(digits / 'validation')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    for words in marked('small_data', 'Subsets'):
        small = [*SMALL, '-b', '128'] if words[1] == 'train' else []
        assert main([*words[1:], *small]) == 0
    for name in ('train', 'validation'):
        made, again = (sorted(p.relative_to(r) for p in Path(r, name).rglob('*.png')) for r in ('DATA', 'AGAIN'))
        assert made == again
        assert len(made) == 500
    (shown,) = code_blocks(card('small_data', 'Subsets'), 'text')
    for page, digits_say in {
        '50,000': '500',
        '1,000': '10',
        '390 batches': '3 batches',
        '80 images left': '116 images left',
    }.items():
        shown = shown.replace(page, digits_say)
    err = capsys.readouterr().err
    assert shown in err
    assert 'all 1,000 images can be read' in err


@pytest.mark.slow
def test_timms_own_script_with_no_runner(timm_scripts, few_digits, tmp_path):
    """The purest form: python train.py --device-modules timm_vipriors."""
    (words,) = [words for words in command_lines(GUIDES['command_line']) if words[:2] == ['python', 'train.py']]
    assert words[-3:] == ['--num-classes', '10', 'DATA']  # without it timm trains 1,000 classes
    script = str(timm_scripts / words[1])
    flags = '--model test_dsk_resnext --device cpu --epochs 1 -b 20 --img-size 32 --workers 1 --experiment pure'.split()
    # the checkout's own timm must not stand before the installed one, as it would when started from there
    code = f'import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path({script!r}, run_name="__main__")'
    line = [sys.executable, '-c', code, script, *words[2:-1], str(few_digits), *flags]
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'output' / 'train' / 'pure' / 'summary.csv').exists()


def test_lists_of_the_challenge(tmp_path, monkeypatch):
    """The lines that turn its pickles into lists and links, on two classes."""
    monkeypatch.chdir(tmp_path)
    names = {split: [['n1', f'{split}1.JPEG'], ['n2', f'{split}2.JPEG']] for split in ('train', 'val')}
    for split, rows in names.items():
        (tmp_path / f'{split}.pickle').write_bytes(pickle.dumps(rows))
        for folder, file in rows:
            for path in (tmp_path / 'IMAGENET' / 'train' / folder, tmp_path / 'IMAGENET' / 'val' / folder):
                path.mkdir(parents=True, exist_ok=True)
                (path / file).write_text('x')
    (tmp_path / 'test.pickle').write_bytes(pickle.dumps(['n2/val2.JPEG', 'n1/val1.JPEG']))
    for mark in ('lists', 'test images'):
        code = re.search(rf'<!-- {mark} -->\n```sh\n(.*?)```', GUIDES['challenge'], re.DOTALL)[1]
        *lines, last = code.splitlines()
        subprocess.run(['bash', '-e', '-c', '\n'.join(lines)], check=True)
        if last.startswith('timm-vipriors '):
            assert main(shlex.split(last)[1:]) == 0
        else:
            subprocess.run(['bash', '-e', '-c', last], check=True)
    for split, rows in names.items():
        made = [[path.parent.name, path.name] for path in sorted((tmp_path / 'DATA' / split).rglob('*.JPEG'))]
        assert made == rows
    links = [os.readlink(tmp_path / 'TEST' / f'img_{i}.JPEG') for i in range(2)]
    assert links == [str(tmp_path / 'IMAGENET' / 'val' / name) for name in ('n2/val2.JPEG', 'n1/val1.JPEG')]
