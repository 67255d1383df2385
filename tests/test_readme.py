"""What the README shows is what there is."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from timm_vipriors.cli import SCRIPTS, main, make_parser

from .conftest import ROOT

README = (ROOT / 'README.md').read_text()


def blocks(language):
    return re.findall(rf'```{language}\n(.*?)```', README, re.DOTALL)


def test_python_blocks_run():
    code = blocks('python')
    assert len(code) == 3
    for block in code:
        assert len(block.splitlines()) <= 30
        exec(compile(block, 'README.md', 'exec'), {})


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
    assert seen == 25


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
    assert len(pictures) == 2
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
