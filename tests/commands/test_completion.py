"""Completion as shells ask for it: variables say the line and the cursor, the answer goes to descriptor 8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from timm_vipriors.cli import SCRIPTS, make_parser
from timm_vipriors.recipes import all_recipes

RECIPES = {recipe.name for recipe in all_recipes()}


def complete(line: str, point: int | None = None, **env: str) -> list[str]:
    """What is offered for a line, which begins with the command."""
    env = {
        **os.environ,
        '_ARGCOMPLETE': '1',
        '_ARGCOMPLETE_IFS': '\n',
        'COMP_LINE': line,
        'COMP_POINT': str(len(line) if point is None else point),
        **env,
    }
    command = 'exec 8>&1 9>/dev/null 1>/dev/null; exec "$0" -m timm_vipriors'
    done = subprocess.run(['bash', '-c', command, sys.executable], env=env, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    return [word.strip() for word in done.stdout.split('\n') if word]


@pytest.fixture
def no_torch(tmp_path):
    """A variable that makes the import of torch and timm fail, so that what does not need them is seen to be quick."""
    for name in ('torch', 'timm'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit("imported")')
    return {'PYTHONPATH': str(tmp_path)}


def test_commands_and_actions(no_torch):
    commands = set(next(a for a in make_parser()._actions if a.dest == 'command').choices)
    assert set(complete('timm-vipriors ', **no_torch)) == {*commands, '-h', '--help', '--version'}
    assert set(SCRIPTS) < commands
    assert complete('timm-vipriors rec', **no_torch) == ['recipe']
    assert complete('timm-vipriors train', **no_torch) == ['train']
    assert set(complete('timm-vipriors r', **no_torch)) == {'recipe', 'report', 'run'}
    assert complete('timm-vipriors r nonsense', point=len('timm-vipriors rec'), **no_torch) == []
    assert complete('timm-vipriors rec nonsense', point=len('timm-vipriors rec'), **no_torch) == ['recipe']
    assert set(complete('timm-vipriors hierarchy ', **no_torch)) == {'induce', 'show', '-h', '--help'}


def test_flags_and_choices(no_torch):
    assert complete('timm-vipriors subset a b --per', **no_torch) == ['--per-class']
    assert set(complete('timm-vipriors ensemble search --metric ', **no_torch)) == {'top1', 'top5'}
    assert complete('timm-vipriors predict DATA --che', **no_torch) == ['--checkpoint']


@pytest.mark.parametrize('action', ['show', 'copy', 'run'])
def test_recipes(action, no_torch):
    offered = set(complete(f'timm-vipriors recipe {action} ', **no_torch))
    assert offered - {'-h', '--help', '--force'} == RECIPES
    assert len(RECIPES) == 26
    assert complete(f'timm-vipriors recipe {action} effnet_b7', **no_torch) == ['effnet_b7_fcl']
    assert complete(f'timm-vipriors recipe {action} nonsense', **no_torch) == []


def test_recipes_of_an_ablation(no_torch):
    assert complete('timm-vipriors ablation DATA --rows quicks', **no_torch) == ['quickstart']


@pytest.mark.parametrize('command', ['train', 'validate', 'predict'])
def test_models(command):
    assert set(complete(f'timm-vipriors {command} DATA --model dsk_')) == set(timm.list_models('dsk_*'))
    assert len(timm.list_models('dsk_*')) == 3


def test_flags_of_scripts(scripts):
    assert set(complete('timm-vipriors train DATA --criterion')) == {'--criterion', '--criterion-kwargs'}
    offered = set(complete('timm-vipriors validate --'))
    assert {'--checkpoint', '--reparam'} < offered
    assert '--criterion' not in offered
    assert ('--results-format' in offered) == (scripts == 'timm')  # the bundled script has no such flag


def test_in_bash():
    """The line of the help text, in bash itself."""
    code = """
        eval "$(register-python-argcomplete timm-vipriors)"
        COMP_LINE='timm-vipriors recipe show quic' COMP_POINT=30 COMP_TYPE=9
        COMP_WORDS=(timm-vipriors recipe show quic) COMP_CWORD=3
        _python_argcomplete timm-vipriors quic show
        printf '%s|' "${COMPREPLY[@]}"
    """
    assert 'eval "$(register-python-argcomplete timm-vipriors)"' in make_parser().format_help()
    env = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    done = subprocess.run(['bash', '-c', code], env=env, text=True, capture_output=True, timeout=120)
    assert done.stdout == 'quickstart |', done.stderr


def test_argcomplete_finds_its_mark():
    line = [sys.executable, '-m', 'argcomplete._check_console_script', Path(sys.executable).with_name('timm-vipriors')]
    done = subprocess.run(line, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_without_argcomplete_nothing_is_offered(tmp_path):
    (tmp_path / 'argcomplete.py').write_text('raise ImportError')
    env = {
        **os.environ,
        'PYTHONPATH': str(tmp_path),
        '_ARGCOMPLETE': '1',
        'COMP_LINE': 'timm-vipriors ',
        'COMP_POINT': '14',
    }
    done = subprocess.run([sys.executable, '-m', 'timm_vipriors'], env=env, text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, '', '')


def test_other_programs_have_our_models_whatever_they_do():
    code = "import timm, timm_vipriors; print(timm.is_model('dsk_resnext50_32x4d'))"
    line = [sys.executable, '-c', code, 'doctor']
    env = {**os.environ, '_ARGCOMPLETE': '1'}
    assert subprocess.run(line, env=env, text=True, capture_output=True).stdout == 'True\n'
