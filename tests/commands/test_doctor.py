"""`timm-vipriors doctor`, where all is well and where something is not."""

import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata

import pytest
import timm
import torch

import timm_vipriors
from timm_vipriors import environment
from timm_vipriors.cli import main
from timm_vipriors.commands.doctor import report

from ..conftest import ROOT


@pytest.fixture(autouse=True)
def no_checkout(monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)


def fake_distribution(folder, name, version, requires=()):
    """Write the metadata of a distribution into a folder."""
    path = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    path.mkdir(parents=True)
    lines = ['Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}', *requires]
    (path / 'METADATA').write_text('\n'.join(lines) + '\n')


@pytest.fixture
def here(capsys, tmp_path, monkeypatch):
    """Run it in this process, with a faked distribution before the installed ones."""

    def run(*distribution, **kwargs):
        if distribution:
            fake_distribution(tmp_path, *distribution, **kwargs)
            monkeypatch.syspath_prepend(tmp_path)
        code = main(['doctor', '--json'])
        found = json.loads(capsys.readouterr().out)
        text = report(found)
        assert code == (1 if found['errors'] else 0)
        for kind in ('warning', 'error'):
            assert re.findall(rf'^{kind}: (.*)$', text, re.MULTILINE) == found[f'{kind}s']
        assert text.endswith('all is well') == (code == 0)
        return found, text

    return run


def test_all_is_well(here, capsys):
    assert main(['doctor']) == 0
    printed = capsys.readouterr().out
    found, text = here()
    assert printed == text + '\n'
    assert found['version'] == timm_vipriors.__version__
    assert (found['python'], found['executable']) == (platform.python_version(), sys.executable)
    for module in (torch, timm):
        folder = os.path.dirname(module.__file__)
        package = {'version': str(module.__version__), 'path': folder, 'error': None}
        assert found['packages'][module.__name__] == package
        assert re.search(rf'^{module.__name__} +{re.escape(module.__version__)} +{folder}$', text, re.MULTILINE)
    assert found['torch']['cuda_build'] == torch.version.cuda
    assert len(found['torch']['cuda_devices']) == torch.cuda.device_count()
    assert set(found['models']) == set(timm.list_models(module='dsk_resnext'))
    assert found['extras']['demo'] == []
    assert re.search('TIMM_SCRIPTS +not set', text)


@pytest.mark.parametrize(
    ('name', 'code', 'error'),
    [
        ('torchvision', "raise RuntimeError('operator torchvision::nms does not exist')", 'do not fit'),
        ('torch', "raise OSError('libcudart.so.12: cannot open\\nmore')", 'libcudart.so.12: cannot open): pip install'),
        ('timm', "raise ModuleNotFoundError('No module named timm')", 'No module named timm): pip install'),
    ],
)
def test_a_package_that_cannot_be_imported(name, code, error, command, tmp_path):
    """The package warns and registers nothing, the doctor runs, and says once what is wrong."""
    folder = tmp_path / 'first' / name
    folder.mkdir(parents=True)
    (folder / '__init__.py').write_text(code)
    done = command('doctor', '--json', env={'PYTHONPATH': f'{folder.parent}{os.pathsep}{ROOT}'}, check=False)
    assert 'RuntimeWarning: the models of timm_vipriors are not registered' in done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == 1
    (sentence,) = found['errors']
    assert sentence.startswith(f'{name} {metadata.version(name)} cannot be imported (')
    assert error in sentence
    assert found['packages']['timm']['error'] == found['packages'][name]['error'] is not None
    assert found['models'] == []


def test_without_torch_import_warns_of_it(tmp_path):
    (tmp_path / 'torch.py').write_text("raise ImportError('no torch here')")
    env = {**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'}
    line = [sys.executable, '-c', 'import timm_vipriors; print(timm_vipriors.__version__)']
    done = subprocess.run(line, env=env, text=True, capture_output=True)
    assert done.stdout.strip() == timm_vipriors.__version__
    assert 'an import failed (ImportError: no torch here)' in done.stderr


def test_packages_that_do_not_fit_together(here):
    """What a marker or an extra excludes does not count."""
    requires = ['torch==1.9', "numpy==9; python_version < '3'", "timm==9; extra == 'x'"]
    found, _ = here(
        'torchvision', metadata.version('torchvision'), requires=[f'Requires-Dist: {text}' for text in requires]
    )
    assert found['errors'] == [
        f"torchvision needs torch==1.9, got {torch.__version__}: pip install --upgrade 'torch==1.9'"
    ]


def test_another_timm_than_the_installed_one(here):
    """Started in a checkout, say."""
    (warning,) = here('timm', '1.0.99')[0]['warnings']
    assert warning.startswith(f'timm 1.0.99 is installed, but {timm.__version__} is imported from ')


def test_extras_are_those_of_the_metadata(here):
    requires = [
        'Provides-Extra: here',
        "Requires-Dist: pillow; extra == 'here'",
        'Provides-Extra: old',
        "Requires-Dist: numpy>=99; extra == 'old'",
        'Provides-Extra: gone',
        "Requires-Dist: pillow; extra == 'gone'",
        "Requires-Dist: not-there-a; extra == 'gone'",
    ]
    found, text = here('timm-vipriors', timm_vipriors.__version__, requires=requires)
    assert found['extras'] == {'here': [], 'old': ['numpy'], 'gone': ['not-there-a']}
    assert re.search(r'extra here +ok\nextra old +lacks numpy\nextra gone +lacks not-there-a', text)


def test_checkout(here, tmp_path, monkeypatch):
    checkout = tmp_path / 'checkout'
    (checkout / 'timm').mkdir(parents=True)
    for name in ('train.py', 'validate.py'):
        (checkout / name).touch()
    monkeypatch.setenv('TIMM_SCRIPTS', str(checkout))
    for version, warnings in ((timm.__version__, 0), ('0.1', 1)):
        (checkout / 'timm' / 'version.py').write_text(f"__version__ = '{version}'\n")
        found, text = here()
        assert found['timm_scripts'] == {'path': str(checkout), 'version': version}
        assert f'{checkout}  timm {version}' in text
        assert len(found['warnings']) == warnings
    assert found['warnings'] == [
        f'the scripts in TIMM_SCRIPTS are of timm 0.1, installed is timm {timm.__version__}: '
        f'git -C {checkout} checkout v{timm.__version__}'
    ]
    (checkout / 'validate.py').unlink()
    assert 'has no validate.py' in here()[0]['errors'][0]


def test_not_installed(monkeypatch):
    installed = environment._version
    monkeypatch.setattr(environment, '_version', lambda name: None if name == 'timm-vipriors' else installed(name))
    found = environment.examine()
    assert found['extras'] == {}
    assert found['warnings'] == [f'timm-vipriors is imported from {found["path"]} and not installed: pip install it']
