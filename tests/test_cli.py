import re
import signal
import subprocess
import sys

import pytest

import timm_vipriors
from timm_vipriors.cli import main


def test_version(capsys):
    with pytest.raises(SystemExit) as e:
        main(['--version'])
    assert e.value.code == 0
    assert capsys.readouterr().out == f'timm-vipriors {timm_vipriors.__version__}\n'


def test_help_lists_the_commands_with_examples(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    out = capsys.readouterr().out
    listed = re.findall(r'^    (\S+)  ', out, re.MULTILINE)
    assert listed == (
        'train validate demo-data subset hierarchy predict ensemble report recipe ablation run doctor'.split()
    )
    assert 'examples:' in out


@pytest.mark.parametrize('argv', [[], ['nonsense']])
def test_unknown_commands(argv, capsys):
    with pytest.raises(SystemExit) as e:
        main(argv)
    assert e.value.code == 2
    assert 'COMMAND' in capsys.readouterr().err


def test_demo_data(tmp_path, capsys):
    root = tmp_path / 'd'
    assert main(['demo-data', str(root), '--per-class', '2', '--size', '8', '--seed', '4']) == 0
    assert capsys.readouterr().out == f'{root}: 20 images in train, 1777 in validation, 10 classes\n'
    assert main(['demo-data', str(root)]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors demo-data: error: ')
    assert err.count('\n') == 1


def test_import_changes_nothing_but_the_registry():
    code = (
        'import logging, sys, warnings, timm, torch, numpy, random\n'
        'state = random.getstate(), torch.get_rng_state().tolist(), list(warnings.filters), logging.root.handlers[:]\n'
        'before = set(timm.list_models())\n'
        'import timm_vipriors\n'
        'assert state == (random.getstate(), torch.get_rng_state().tolist(), list(warnings.filters), '
        'logging.root.handlers[:])\n'
        'assert len(set(timm.list_models()) - before) == 7\n'
        'assert "scipy" not in sys.modules and "sklearn" not in sys.modules and "matplotlib" not in sys.modules\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_output_into_a_closed_pipe():
    """`| head` is no error."""
    line = f'{sys.executable} -m timm_vipriors recipe show effnet_b7_fcl | true'
    done = subprocess.run(['bash', '-c', f'{line}; echo ${{PIPESTATUS[0]}}'], text=True, capture_output=True)
    assert done.stderr == ''
    assert done.stdout.strip() == str(128 + signal.SIGPIPE)
