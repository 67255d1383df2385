"""`timm-vipriors run`: timm's other scripts, with our models."""

import json
import subprocess
import sys

import pytest
import timm
from timm.utils import accuracy, reparameterize_model

from timm_vipriors.cli import main

from .networks import SMALL


def result(stdout):
    """The JSON that a script of timm prints at its end."""
    return json.JSONDecoder().raw_decode(stdout.split('--result\n')[1])[0]


def millions(model):
    return round(sum(p.numel() for p in model.parameters()) / 1e6, 2)


@pytest.fixture
def script(tmp_path):
    """Write a script and return its path."""

    def write(text, name='script.py'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.slow
def test_benchmark(command, timm_scripts, tmp_path):
    flags = ['--model', SMALL, '--device', 'cpu', '--img-size', 64, '-b', 4, '--num-warm-iter', 1]
    flags += ['--num-bench-iter', 5]
    done = command('run', 'benchmark.py', *flags, '--results-file', 'b.csv')
    figures = result(done.stdout)
    model = timm.create_model(SMALL)
    assert figures['model'] == SMALL
    assert figures['param_count'] == millions(model)
    assert figures['infer_img_size'] == figures['train_img_size'] == 64
    assert figures['infer_samples_per_sec'] > 0
    assert figures['train_samples_per_sec'] > 0
    assert SMALL in (tmp_path / 'b.csv').read_text()
    # the name without .py, and flags that are the script's own
    done = command('run', 'benchmark', *flags, '--bench', 'inference', '--reparam')
    assert result(done.stdout)['param_count'] == millions(reparameterize_model(model.eval())) < millions(model)


@pytest.mark.slow
def test_validate(command, timm_scripts, trained, digits):
    flags = ['--model', SMALL, '--checkpoint', trained.checkpoint, '--device', 'cpu', '--workers', 1, '-b', 433]
    flags += ['--num-classes', 10, '--img-size', 32, '--crop-pct', 1, '--mean', 0.4, 0.4, 0.4, '--std', 0.3, 0.3, 0.3]
    top1, top5 = accuracy(trained.model(trained.inputs), trained.targets, topk=(1, 5))
    assert top1 > 80
    for reparam in ([], ['--reparam']):
        figures = result(command('run', timm_scripts / 'validate.py', digits, *flags, *reparam).stdout)
        assert figures['top1'] == pytest.approx(top1.item(), abs=0.1)
        assert figures['top5'] == pytest.approx(top5.item(), abs=0.1)


ECHO = """
import sys, timm
print(sys.argv, __name__, timm.is_model('test_dsk_resnext'))
sys.exit({code!r})
"""


def test_arguments_and_exit_code(command, script):
    path = script(ECHO.format(code=3))
    args = ['--help', 'DATA', '--model', 'x', '--', '-h', '--flag=1']
    done = command('run', 'script.py', *args, check=False)
    python = subprocess.run([sys.executable, 'script.py', *args], cwd=path.parent, text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, f'{["script.py", *args]} __main__ True\n', '')
    # without the command the same, but for the models
    assert (python.returncode, python.stdout) == (3, done.stdout.replace('True', 'False'))


@pytest.mark.parametrize('code', [0, 5, None, 'a sentence'])
def test_every_way_to_exit(code, script):
    with pytest.raises(SystemExit) as e:
        main(['run', str(script(ECHO.format(code=code)))])
    assert e.value.code == code


def test_an_error_of_the_script_is_its_own(command, script):
    script('raise ValueError("of the script")')
    done = command('run', 'script.py', check=False)
    assert done.returncode == 1
    assert done.stderr.endswith('ValueError: of the script\n')


SHADOW = """
import multiprocessing, sys, timm, neighbour
from timm.utils import ModelEmaV3

def where():
    print(timm.__file__, flush=True)

if __name__ == '__main__':
    where()
    worker = multiprocessing.get_context('spawn').Process(target=where)
    worker.start()
    worker.join()
    print(neighbour.__file__)
    sys.exit(worker.exitcode)
"""


def test_the_installed_timm_is_not_shadowed_by_a_checkouts(script, command):
    """Not in this process and not in those that it starts; what else lies beside the script is found."""
    path = script(SHADOW, 'checkout/script.py')
    script('', 'checkout/neighbour.py')
    (path.parent / 'timm').mkdir()
    script('raise ImportError("the timm of the checkout")', 'checkout/timm/__init__.py')
    installed = timm.__file__
    lines = command('run', path).stdout.splitlines()
    assert lines == [installed, installed, str(path.with_name('neighbour.py'))]


def test_nothing_stays_changed(script, monkeypatch, capsys):
    path = script('import sys\nprint(len(sys.argv))')
    argv, search = list(sys.argv), list(sys.path)
    assert main(['run', str(path), 'a', 'b']) == 0
    assert capsys.readouterr().out == '3\n'
    assert (sys.argv, sys.path) == (argv, search)


def test_a_file_here_comes_before_one_of_the_checkout(script, monkeypatch, capsys):
    here, there = script('print("here")', 'a/same.py').parent, script('print("there")', 'b/same.py').parent
    monkeypatch.setenv('TIMM_SCRIPTS', str(there))
    monkeypatch.chdir(here)
    for name, expected in (('same.py', 'here'), ('./same.py', 'here'), ('same', 'there')):
        assert main(['run', name]) == 0
        assert capsys.readouterr().out == f'{expected}\n'


def test_a_checkout_of_another_version(script, monkeypatch, capsys):
    checkout = script('', 'checkout/same.py').parent
    (checkout / 'timm').mkdir()
    script("__version__ = '0.0.1'", 'checkout/timm/version.py')
    monkeypatch.setenv('TIMM_SCRIPTS', str(checkout))
    assert main(['run', 'same']) == 0
    assert 'are of timm 0.0.1' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('name', 'checkout', 'message'),
    [
        ('benchmark.py', '', 'there is no file benchmark.py: give the path'),
        ('convert/none.py', '', 'there is no file convert/none.py'),
        (
            'benchmrk.py',
            'checkout',
            "TIMM_SCRIPTS is 'checkout', which has no benchmrk.py (its scripts: benchmark, ",
        ),
        ('train.py', 'nowhere', "TIMM_SCRIPTS is 'nowhere', which has no train.py (its scripts: none)"),
    ],
)
def test_mistakes(name, checkout, message, script, tmp_path, monkeypatch, capsys):
    for there in ('benchmark.py', 'train.py'):
        script('raise SystemExit("run by mistake")', f'checkout/{there}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TIMM_SCRIPTS', checkout)
    assert main(['run', name, '--flag']) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f'timm-vipriors run: error: {message}')
