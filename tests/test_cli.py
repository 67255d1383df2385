import re
import signal
import subprocess
import sys

import pytest

import timm_vipriors
from timm_vipriors.cli import main
from timm_vipriors.errors import UserError


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
        'train validate demo-data subset suggest hierarchy predict ensemble report recipe ablation run doctor'.split()
    )
    assert 'examples:' in out


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('', 'COMMAND'),
        ('nonsense', 'COMMAND'),
        ('doctor --nonsense\x1b[31m', r'unrecognized arguments: --nonsense\x1b[31m'),
    ],
)
def test_wrong_command_lines(line, message, capsys):
    with pytest.raises(SystemExit) as e:
        main(line.split())
    assert e.value.code == 2
    assert message in capsys.readouterr().err


def test_demo_data(tmp_path, capsys):
    root = tmp_path / 'd'
    assert main(['demo-data', str(root), '--per-class', '2', '--size', '8', '--seed', '4']) == 0
    assert capsys.readouterr().out == f'{root}: 20 images in train, 1777 in validation, 10 classes\n'
    assert main(['demo-data', str(root)]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors demo-data: error: ')
    assert err.count('\n') == 1


@pytest.mark.parametrize(
    ('error', 'code', 'err'),
    [
        (UserError('a\x1b[31mb\rc is wrong\ntry d'), 2, r'error: a\x1b[31mb\rc is wrong' '\ntry d'),
        (KeyboardInterrupt(), 130, 'interrupted'),
        (KeyboardInterrupt('resume with --resume auto'), 130, 'resume with --resume auto'),
    ],
)
@pytest.mark.parametrize('command', ['doctor', 'train DATA'])
def test_errors_and_interrupts_are_one_sentence(error, code, err, command, monkeypatch, capsys):
    """Without a traceback, and with nothing that a terminal would obey."""

    def fail(*args):
        raise error

    monkeypatch.setattr('timm_vipriors.commands.doctor.run', fail)
    monkeypatch.setattr('timm_vipriors.scripts.runner.run', fail)
    assert main(command.split()) == code
    assert capsys.readouterr().err == f'timm-vipriors {command.split()[0]}: {err}\n'


def test_import_changes_nothing_but_the_registry():
    """Also with a command line that looks like the doctor's, which is not read."""
    code = (
        'import logging, sys, warnings, timm, torch, numpy, random\n'
        'state = random.getstate(), torch.get_rng_state().tolist(), list(warnings.filters), logging.root.handlers[:]\n'
        'before = set(timm.list_models())\n'
        'sys.argv = ["timm-vipriors", "doctor"]\n'
        'import timm_vipriors\n'
        'assert state == (random.getstate(), torch.get_rng_state().tolist(), list(warnings.filters), '
        'logging.root.handlers[:])\n'
        'assert len(set(timm.list_models()) - before) == 7\n'
        'assert not {"scipy", "sklearn", "matplotlib", "timm_vipriors.inference"} & set(sys.modules)\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_names_of_the_package():
    classifier = pytest.importorskip('timm_vipriors.inference.classifier')
    assert timm_vipriors.load_classifier is classifier.load_classifier
    with pytest.raises(AttributeError, match="'timm_vipriors' has no attribute 'load_clasifier'"):
        timm_vipriors.load_clasifier  # noqa: B018


def test_output_into_a_closed_pipe():
    """`| head` is no error."""
    line = f'{sys.executable} -m timm_vipriors recipe show effnet_b7_fcl | true'
    done = subprocess.run(['bash', '-c', f'{line}; echo ${{PIPESTATUS[0]}}'], text=True, capture_output=True)
    assert done.stderr == ''
    assert done.stdout.strip() == str(128 + signal.SIGPIPE)
