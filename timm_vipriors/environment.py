"""What is installed and what is wrong with it. Works where torch or timm does not."""

import importlib
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .errors import UserError
from .files import first_line

OURS = 'timm-vipriors'
# distribution → module, each before those that import it
PACKAGES = {'numpy': 'numpy', 'pillow': 'PIL', 'scipy': 'scipy', 'torch': 'torch', 'torchvision': 'torchvision'}
PACKAGES |= {'timm': 'timm', OURS: 'timm_vipriors.models'}


def examine() -> dict[str, Any]:
    """What `timm-vipriors doctor --json` prints: facts by name, and sentences in `warnings` and `errors`."""
    found: dict[str, Any] = {'version': __version__, 'path': os.path.dirname(__file__)}
    found |= {'python': platform.python_version(), 'executable': sys.executable, 'platform': platform.platform()}
    found |= {'cores': os.cpu_count(), 'packages': {}, 'torch': {}, 'models': [], 'timm_scripts': {}, 'extras': {}}
    found |= {'warnings': [], 'errors': []}
    for name, module in PACKAGES.items():
        found['packages'][name] = import_package(name, module, found)
    if torch := sys.modules.get('torch'):
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found['torch'] = {'cuda_build': torch.version.cuda, 'cuda_devices': devices}
        found['torch']['mps_available'] = torch.backends.mps.is_available()
    if found['packages'][OURS]['error'] is None:
        found['models'] = sys.modules['timm'].list_models(module='dsk_resnext')
    check_requirements(found)
    check_scripts(found)
    return found


def import_package(name: str, module_name: str, found: dict[str, Any]) -> dict[str, str | None]:
    """Import a package and return its version, folder and error. What is wrong with it goes into `found`."""
    installed = _version(name)
    try:
        module = importlib.import_module(module_name)
    except Exception as e:  # a broken build raises more than ImportError
        error = f'{type(e).__name__}: {first_line(e)}'
        if error not in [package['error'] for package in found['packages'].values()]:  # else it was explained there
            advice = f'pip install --upgrade --force-reinstall {name}'
            if name == 'torchvision' and installed and 'torchvision' in error:  # its operators, or its CUDA
                advice = f'torch {_version("torch")} and torchvision do not fit: pip install -U torch torchvision'
            found['errors'].append(f'{name} {installed or ""} cannot be imported ({error}): {advice}')
        return {'version': installed, 'path': None, 'error': error}
    version = str(getattr(module, '__version__', __version__))
    path = os.path.dirname(module.__file__)
    if installed and installed.split('+')[0] != version.split('+')[0]:
        found['warnings'].append(f'{name} {installed} is installed, but {version} is imported from {path}')
    return {'version': version, 'path': path, 'error': None}


def check_requirements(found: dict[str, Any]) -> None:
    """Compare the versions with what the packages require, and see what each of our extras lacks."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # comes with timm, which is missing too
        return
    for owner in filter(_version, PACKAGES):
        for requirement in map(Requirement, metadata.requires(owner) or ()):
            version = found['packages'].get(requirement.name, {}).get('version')
            applies = requirement.marker is None or requirement.marker.evaluate({'extra': ''})
            if version and applies and not requirement.specifier.contains(version, prereleases=True):
                wanted = f'{requirement.name}{requirement.specifier}'
                found['errors'].append(f"{owner} needs {wanted}, got {version}: pip install --upgrade '{wanted}'")
    if not _version(OURS):
        found['warnings'].append(f'{OURS} is imported from {found["path"]} and not installed: pip install it')
        return
    for extra in metadata.metadata(OURS).get_all('Provides-Extra') or ():
        optional = [r for r in map(Requirement, metadata.requires(OURS)) if r.marker and 'extra' in str(r.marker)]
        needed = [r for r in optional if r.marker.evaluate({'extra': extra})]
        fits = {r.name: r.specifier.contains(_version(r.name) or '0.dev0', prereleases=True) for r in needed}
        found['extras'][extra] = [r.name for r in needed if not (_version(r.name) and fits[r.name])]


def check_scripts(found: dict[str, Any]) -> None:
    """See whether `$TIMM_SCRIPTS` names a checkout that fits the installed timm."""
    checkout, installed = find_checkout(), found['packages']['timm']['version']
    found['timm_scripts'] = {'path': checkout, 'version': checkout and checkout_version(checkout)}
    try:
        find_in_checkout('train')
        find_in_checkout('validate')
    except UserError as e:
        found['errors'].append(str(e))
    if installed and (warning := checkout_warning(installed)):
        found['warnings'].append(f'{warning}: git -C {checkout} checkout v{installed}')


def find_checkout() -> str | None:
    """The checkout of pytorch-image-models that `$TIMM_SCRIPTS` names, or None where the variable is not set."""
    return os.environ.get('TIMM_SCRIPTS') or None


def find_in_checkout(name: str) -> Path | None:
    """The path of a script in the checkout, by its name without `.py`; None without a checkout."""
    checkout = find_checkout()
    if checkout is None:
        return None
    if os.path.isfile(path := Path(checkout, f'{name}.py')):
        return path
    scripts = ', '.join(sorted(path.stem for path in Path(checkout).glob('*.py')))
    raise UserError(
        f'TIMM_SCRIPTS is {checkout!r}, which has no {name}.py (its scripts: {scripts or "none"}): point it at a '
        f'checkout of pytorch-image-models, or unset it to use the bundled train and validate'
    )


def checkout_version(checkout: str | Path) -> str | None:
    """The version of timm that a checkout is of, or None where it does not say."""
    version_file = Path(checkout, 'timm', 'version.py')
    match = re.search(r"__version__ = '(.+)'", version_file.read_text()) if version_file.is_file() else None
    return match[1] if match else None


def checkout_warning(installed: str) -> str | None:
    """What to know of a checkout that is of another version than the installed timm, or None."""
    checkout = find_checkout()
    version = checkout and checkout_version(checkout)
    if version in (None, installed):
        return None
    return f'the scripts in TIMM_SCRIPTS are of timm {version}, installed is timm {installed}'


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
