"""What is installed, on which machine, and what is wrong with it. Works where torch or timm does not."""

import importlib
import os
import platform
import shutil
import sys
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from . import __version__
from .errors import UserError
from .scripts.checkout import checkout_version, find_checkout, find_in_checkout, version_warning

_OURS = 'timm-vipriors'
# distribution → module, each before those that import it
_PACKAGES = {
    'numpy': 'numpy',
    'pillow': 'PIL',
    'scipy': 'scipy',
    'torch': 'torch',
    'torchvision': 'torchvision',
    'timm': 'timm',
}


def examine() -> dict[str, Any]:
    """Look at everything.

    Returns:
        What `timm-vipriors doctor --json` prints: facts by their names, and the lists `warnings` and `errors` of
        sentences that say what to do.
    """
    found: dict[str, Any] = {
        'version': __version__,
        'path': os.path.dirname(__file__),
        'python': platform.python_version(),
        'executable': sys.executable,
        'platform': platform.platform(),
        'machine': describe_machine(),
        'packages': {},
        'torch': {},
        'models': [],
        'timm_scripts': {},
        'extras': {},
        'warnings': [],
        'errors': [],
    }
    modules = import_packages(found)
    check_requirements(found)
    check_builds(found)
    if 'torch' in modules:
        found['torch'] = describe_torch(modules['torch'], found)
    if 'timm' in modules:
        check_models(modules['timm'], found)
    check_scripts(found)
    return found


def describe_machine() -> dict[str, int | None]:
    """What workers that load images share: cores, files open at a time, and memory (where the system has such)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    open_files = shared_memory = None
    try:
        import resource

        open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        shared_memory = shutil.disk_usage('/dev/shm').free // 2**20
    except (ImportError, OSError):
        pass  # neither is everywhere
    return {'cores': cores, 'open_files': open_files, 'shared_memory_mib': shared_memory}


def import_packages(found: dict[str, Any]) -> dict[str, ModuleType]:
    """Import what we need, and say why it fails where it does. Returns the modules that can be imported."""
    modules, reasons = {}, set()
    for name, module_name in _PACKAGES.items():
        version, error = _installed(name), None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # they are not about what is installed
                modules[name] = module = importlib.import_module(module_name)
            imported = str(module.__version__)
        except Exception as e:  # anything can happen in there
            modules.pop(name, None)
            error = f'{type(e).__name__}: {e}'
            # one that fails makes all fail that import it: its reason is told once
            reason = e.name if isinstance(e, ModuleNotFoundError) else str(e)
            if reason not in reasons:
                reasons.add(reason)
                found['errors'].append(_explain(name, module_name, version, e))
            imported = version
        if error is None and version is not None and version.split('+')[0] != imported.split('+')[0]:
            found['warnings'].append(
                f'{name} {imported} is imported from {_folder(module)}, installed is {name} {version}: start from '
                f'another folder, or take that one out of PYTHONPATH'
            )
        path = None if error else _folder(module)
        found['packages'][name] = {'version': imported, 'path': path, 'error': error}
    return modules


def _explain(name: str, module_name: str, version: str | None, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module_name:
        return f'{name} is not installed: pip install {name}'
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if name == 'torchvision' and 'torchvision::' in first_line:
        return (
            f'torchvision {version} cannot be imported ({first_line}): it was built for another torch than the '
            f'installed {_installed("torch")}. Install both anew, together: pip install --upgrade torch torchvision'
        )
    return f'{name} {version or ""} cannot be imported ({first_line}): pip install --force-reinstall {name}'


def check_requirements(found: dict[str, Any]) -> None:
    """Compare the versions with what we, and they among themselves, ask for; see which of our extras are there."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        found['errors'].append('packaging, which timm needs, is not installed: pip install --force-reinstall timm')
        return
    if _installed(_OURS) is None:
        found['warnings'].append(
            f'{_OURS} is used from {found["path"]} without being installed, so what it needs was not checked: '
            f'pip install it'
        )
    for owner in (_OURS, *_PACKAGES):
        for requirement in map(Requirement, _requires(owner)):
            version = found['packages'].get(requirement.name, {}).get('version')
            if version is None or (requirement.marker and not requirement.marker.evaluate({'extra': ''})):
                continue
            if not requirement.specifier.contains(version, prereleases=True):
                wanted = f'{requirement.name}{requirement.specifier}'
                what = f"'{wanted}'" if owner == _OURS else f'{requirement.name} {owner}'
                found['errors'].append(
                    f'{owner} {_installed(owner)} needs {wanted}, installed is {requirement.name} {version}: '
                    f'pip install --upgrade {what}'
                )
    if _installed(_OURS) is not None:
        for extra in metadata.metadata(_OURS).get_all('Provides-Extra') or ():
            asked = [
                r
                for r in map(Requirement, _requires(_OURS))
                if r.marker and r.marker.evaluate({'extra': extra}) and not r.marker.evaluate({'extra': ''})
            ]
            found['extras'][extra] = [
                r.name
                for r in asked
                if (version := _installed(r.name)) is None or not r.specifier.contains(version, prereleases=True)
            ]


def check_builds(found: dict[str, Any]) -> None:
    """Compare what torch and torchvision were built for, where they say it: 2.9.0+cu128, 0.24.0+cpu."""
    torch, torchvision = (found['packages'][name]['version'] or '' for name in ('torch', 'torchvision'))
    builds = {version.partition('+')[2] for version in (torch, torchvision)}
    if len(builds) == 2 and '' not in builds:
        found['warnings'].append(
            f'torch {torch} and torchvision {torchvision} were built for different devices: install both anew from '
            f'the same index, pip install --force-reinstall torch torchvision'
        )


def describe_torch(torch: ModuleType, found: dict[str, Any]) -> dict[str, Any]:
    """What torch can compute on."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            available = torch.cuda.is_available()
        found['warnings'] += [str(w.message).splitlines()[0] for w in caught]  # of a driver that is too old, say
        if not available and shutil.which('nvidia-smi'):
            found['warnings'].append(
                f'this machine has nvidia-smi, but torch {torch.__version__} finds no CUDA device: does nvidia-smi '
                f'show one, and is its CUDA version not below that of torch ({torch.version.cuda or "built without"})?'
            )
        return {
            'cuda_build': torch.version.cuda,
            'rocm_build': torch.version.hip,
            'cuda_available': available,
            'cuda_devices': [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
            'mps_available': torch.backends.mps.is_available(),
            'threads': torch.get_num_threads(),
        }
    except Exception as e:
        found['errors'].append(f'torch can be imported but does not work ({e}): pip install --force-reinstall torch')
        return {}


def check_models(timm: ModuleType, found: dict[str, Any]) -> None:
    """See whether our models are in timm's registry."""
    try:
        module = importlib.import_module('timm_vipriors.models.dsk_resnext')
    except Exception as e:
        found['errors'].append(
            f"our models cannot be imported ({type(e).__name__}: {e}): pip install --upgrade '{_OURS}' timm"
        )
        return
    names = [name for name in module.__all__ if not isinstance(getattr(module, name), type)]  # the blocks are types
    found['models'] = [name for name in names if timm.is_model(name)]
    missing = sorted(set(names) - set(found['models']))
    if missing:
        found['errors'].append(
            f'{", ".join(missing)} cannot be made by timm.create_model: is there a second timm? It is imported from '
            f'{_folder(timm)}'
        )


def check_scripts(found: dict[str, Any]) -> None:
    """See whether `$TIMM_SCRIPTS` names a checkout that fits."""
    checkout = find_checkout()
    found['timm_scripts'] = {'path': checkout, 'version': checkout and checkout_version(checkout)}
    if checkout is None:
        return
    try:
        for name in ('train', 'validate'):
            find_in_checkout(checkout, name)
    except UserError as e:
        found['errors'].append(str(e))
        return
    installed = found['packages']['timm']['version']
    warning = installed and version_warning(checkout, installed)
    if warning:
        found['warnings'].append(f'{warning}: git -C {checkout} checkout v{installed}')


def _installed(name: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requires(name: str) -> list[str]:
    return (metadata.requires(name) or []) if _installed(name) is not None else []


def _folder(module: ModuleType) -> str | None:
    return str(Path(module.__file__).parent) if module.__file__ else None
