"""`timm-vipriors doctor`, where all is well and where something is not."""

import json
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

import numpy
import pytest
import timm
import torch

import timm_vipriors
from timm_vipriors import environment
from timm_vipriors.cli import main
from timm_vipriors.commands.doctor import report

MODELS = {
    'd_resnext50_32x4d',
    'dsk_resnext101_32x4d',
    'dsk_resnext26_32x4d',
    'dsk_resnext50_32x4d',
    'sk_resnext50_32x4d',
    'sk_resnext50_32x4d_noaa',
    'test_dsk_resnext',
}


@pytest.fixture(autouse=True)
def no_checkout(monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.setattr('shutil.which', lambda name: None)  # a machine of the tests may have a driver


def fake(folder, modules=None, versions=None, requires=()):
    """Put modules and distributions into a folder, which then goes before the installed ones."""
    for name, text in (modules or {}).items():
        (folder / name).mkdir(parents=True)
        (folder / name / '__init__.py').write_text(text)
    for name, version in (versions or {}).items():
        path = folder / f'{name.replace("-", "_")}-{version}.dist-info'
        path.mkdir(parents=True)
        lines = ['Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}', *requires]
        (path / 'METADATA').write_text('\n'.join(lines) + '\n')


def check(code, stdout):
    """What a run found, and the same as text."""
    found = json.loads(stdout)
    text = report(found)
    assert code == (1 if found['errors'] else 0)
    for kind in ('warning', 'error'):
        assert re.findall(rf'^{kind}: (.*)$', text, re.MULTILINE) == found[f'{kind}s']
    assert text.endswith('all is well') == (code == 0)
    return found, text


@pytest.fixture
def doctor(command, tmp_path):
    """Run it as a process of its own, with faked modules and distributions."""

    def run(env=None, **kwargs):
        fake(tmp_path / 'first', **kwargs)
        done = command('doctor', '--json', env={'PYTHONPATH': str(tmp_path / 'first'), **(env or {})}, check=False)
        assert done.stderr == ''
        return check(done.returncode, done.stdout)

    return run


@pytest.fixture
def here(capsys, tmp_path, monkeypatch):
    """Run it in this process, with faked distributions."""

    def run(**kwargs):
        if kwargs:
            fake(tmp_path / 'first', **kwargs)
            monkeypatch.syspath_prepend(tmp_path / 'first')
        code = main(['doctor', '--json'])
        return check(code, capsys.readouterr().out)

    return run


def test_all_is_well(command, here):
    done = command('doctor')
    assert done.stderr == ''
    found, text = here()
    alike = [re.sub(r'[\d,]+ MiB free', '', out).split() for out in (done.stdout, text)]
    assert alike[0] == alike[1]
    assert found['errors'] == []
    assert found['version'] == timm_vipriors.__version__
    assert found['python'] == platform.python_version()
    assert found['executable'] == sys.executable
    packages = found['packages']
    assert list(packages) == ['numpy', 'pillow', 'scipy', 'torch', 'torchvision', 'timm']
    for module in (numpy, torch, timm):
        assert packages[module.__name__] == {
            'version': str(module.__version__),
            'path': str(Path(module.__file__).parent),
            'error': None,
        }
    assert found['torch']['cuda_build'] == torch.version.cuda
    assert found['torch']['cuda_available'] == torch.cuda.is_available()
    assert len(found['torch']['cuda_devices']) == torch.cuda.device_count()
    assert set(found['models']) == MODELS
    assert found['timm_scripts'] == {'path': None, 'version': None}
    assert found['machine']['cores'] >= 1
    for words in (f'timm-vipriors +{timm_vipriors.__version__}', f'timm +{timm.__version__}', r'models +7 of ours'):
        assert re.search(words, text)
    assert re.search('TIMM_SCRIPTS +not set', text)


def test_torchvision_of_another_torch(doctor):
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    found, text = doctor(modules={'torchvision': broken})
    assert found['errors'][0] == (
        f'torchvision {metadata.version("torchvision")} cannot be imported (operator torchvision::nms does not exist): '
        f'it was built for another torch than the installed {metadata.version("torch")}. Install both anew, together: '
        f'pip install --upgrade torch torchvision'
    )
    assert len(found['errors']) == 1  # timm fails for the same reason, which is said once
    assert 'torchvision::nms' in found['packages']['timm']['error']
    assert found['packages']['torch']['error'] is None
    assert found['torch']['cuda_available'] == torch.cuda.is_available()
    assert found['models'] == []
    assert re.search(rf'timm +{re.escape(timm.__version__)} +cannot be imported', text)


def test_missing_and_broken_packages(doctor):
    modules = {
        'timm': "raise ModuleNotFoundError(\"No module named 'timm'\", name='timm')",
        'torch': "raise OSError('libcudart.so.12: cannot open shared object file\\nmore')",
    }
    found, _ = doctor(modules=modules)
    assert (
        f'torch {metadata.version("torch")} cannot be imported (libcudart.so.12: cannot open shared object file): '
        in (found['errors'][0])
    )
    assert 'timm is not installed: pip install timm' in found['errors']
    assert found['torch'] == {}
    assert found['packages']['numpy']['error'] is None


def test_an_old_timm(doctor):
    found, _ = doctor(versions={'timm': '1.0.20'}, modules={'timm': "__version__ = '1.0.20'"})
    ours = metadata.version('timm-vipriors')
    assert (
        f"timm-vipriors {ours} needs timm>=1.0.27, installed is timm 1.0.20: pip install --upgrade 'timm>=1.0.27'"
        in (found['errors'])
    )
    assert any('our models cannot be imported' in error for error in found['errors'])


def test_packages_that_do_not_fit_together(here):
    version = metadata.version('torchvision')
    found, _ = here(versions={'torchvision': version}, requires=['Requires-Dist: torch==1.9'])
    assert found['errors'] == [
        f'torchvision {version} needs torch==1.9, installed is torch {torch.__version__}: '
        f'pip install --upgrade torch torchvision'
    ]


def test_requirements_that_do_not_count(here):
    version = metadata.version('torchvision')
    requires = ["Requires-Dist: torch==1.9; python_version < '3'", "Requires-Dist: timm==9; extra == 'x'"]
    assert here(versions={'torchvision': version}, requires=requires)[0]['errors'] == []


def test_another_timm_than_the_installed_one(doctor):
    """Started in a checkout, say."""
    found, _ = doctor(modules={'timm': "__version__ = '1.0.99'"})
    assert found['warnings'][0].startswith('timm 1.0.99 is imported from ')
    assert f'installed is timm {timm.__version__}' in found['warnings'][0]


def test_checkout_of_another_version(doctor, tmp_path):
    checkout = make_checkout(tmp_path, "__version__ = '0.1'\n")
    found, text = doctor(env={'TIMM_SCRIPTS': str(checkout)})
    assert found['errors'] == []
    assert found['timm_scripts'] == {'path': str(checkout), 'version': '0.1'}
    assert f'{checkout}  timm 0.1' in text
    assert found['warnings'] == [
        f'the scripts in TIMM_SCRIPTS are of timm 0.1, installed is timm {timm.__version__}: '
        f'git -C {checkout} checkout v{timm.__version__}'
    ]


def test_checkout(here, tmp_path, monkeypatch):
    checkout = make_checkout(tmp_path, f"__version__ = '{timm.__version__}'\n")
    monkeypatch.setenv('TIMM_SCRIPTS', str(checkout))
    found, _ = here()
    assert found['timm_scripts'] == {'path': str(checkout), 'version': timm.__version__}
    assert found['warnings'] == []
    (checkout / 'timm' / 'version.py').unlink()
    found, text = here()
    assert found['timm_scripts'] == {'path': str(checkout), 'version': None}
    assert f'{checkout}  timm of an unknown version' in text
    (checkout / 'validate.py').unlink()
    assert 'has no validate.py' in here()[0]['errors'][0]
    monkeypatch.setenv('TIMM_SCRIPTS', str(tmp_path / 'nowhere'))
    assert here()[0]['errors'] == [
        f"TIMM_SCRIPTS is '{tmp_path / 'nowhere'}', which has no train.py: point it at a checkout of "
        f'pytorch-image-models, or unset it to use the bundled script'
    ]


def make_checkout(folder, version):
    checkout = folder / 'checkout'
    (checkout / 'timm').mkdir(parents=True)
    (checkout / 'timm' / 'version.py').write_text(version)
    for name in ('train.py', 'validate.py'):
        (checkout / name).touch()
    return checkout


def test_extras_are_those_of_the_metadata(here):
    requires = [
        'Requires-Dist: numpy>=1',
        'Provides-Extra: here',
        "Requires-Dist: pillow; extra == 'here'",
        'Provides-Extra: old',
        "Requires-Dist: numpy>=99; extra == 'old'",
        'Provides-Extra: gone',
        "Requires-Dist: pillow; extra == 'gone'",
        "Requires-Dist: not-there-a; extra == 'gone'",
        "Requires-Dist: not-there-b; extra == 'gone'",
    ]
    found, text = here(versions={'timm-vipriors': '0.1'}, requires=requires)
    assert found['extras'] == {'here': [], 'old': ['numpy'], 'gone': ['not-there-a', 'not-there-b']}
    assert re.search(
        r'extras +here\n +not there +old: without numpy\n +not there +gone: without not-there-a, not-', text
    )


def test_our_own_extras():
    """Of what is installed with the tests nothing is missing."""
    found = environment.examine()
    assert {'demo', 'plot', 'parquet', 'test'} <= set(found['extras'])
    assert all(found['extras'][extra] == [] for extra in ('demo', 'plot', 'parquet', 'test'))


def test_a_model_that_timm_does_not_know(monkeypatch, here):
    is_model = timm.is_model
    monkeypatch.setattr(timm, 'is_model', lambda name: name != 'dsk_resnext50_32x4d' and is_model(name))
    found, _ = here()
    assert set(found['models']) == MODELS - {'dsk_resnext50_32x4d'}
    assert found['errors'][0].startswith('dsk_resnext50_32x4d cannot be made by timm.create_model: ')


def test_cuda_that_torch_does_not_find(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert not any('nvidia-smi' in text for text in environment.examine()['warnings'])
    monkeypatch.setattr('shutil.which', lambda name: f'/usr/bin/{name}')
    assert any(f'torch {torch.__version__} finds no CUDA device' in text for text in environment.examine()['warnings'])


def test_warnings_of_the_driver_are_passed_on(monkeypatch):
    def is_available():
        import warnings

        warnings.warn('the driver is too old\nreally', UserWarning, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, 'is_available', is_available)
    assert 'the driver is too old' in environment.examine()['warnings']


def test_torch_that_does_not_work(monkeypatch):
    def is_available():
        raise RuntimeError('no such symbol')

    monkeypatch.setattr(torch.cuda, 'is_available', is_available)
    found = environment.examine()
    assert found['torch'] == {}
    assert 'torch can be imported but does not work (no such symbol)' in found['errors'][0]


@pytest.mark.parametrize(('torchvision', 'warned'), [('0.1+cpu', True), ('0.1+cu130', False), ('0.1', False)])
def test_builds_for_different_devices(torchvision, warned):
    packages = {'torch': {'version': '2.0+cu130'}, 'torchvision': {'version': torchvision}}
    found = {'packages': packages, 'warnings': []}
    environment.check_builds(found)
    assert found['warnings'] == warned * [
        'torch 2.0+cu130 and torchvision 0.1+cpu were built for different devices: install both anew from the same '
        'index, pip install --force-reinstall torch torchvision'
    ]


def test_not_installed(monkeypatch):
    installed = environment._installed
    monkeypatch.setattr(environment, '_installed', lambda name: None if name == 'timm-vipriors' else installed(name))
    found = environment.examine()
    assert found['extras'] == {}
    assert 'is used from' in found['warnings'][0]
    assert os.path.dirname(timm_vipriors.__file__) in found['warnings'][0]


def test_without_packaging(monkeypatch):
    for name in [name for name in sys.modules if name.split('.')[0] == 'packaging']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'packaging', None)
    assert 'packaging, which timm needs, is not installed' in environment.examine()['errors'][0]
