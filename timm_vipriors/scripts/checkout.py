"""The checkout of pytorch-image-models whose scripts are run: that in `$TIMM_SCRIPTS`. Needs no timm."""

import os
import re
from pathlib import Path

from ..errors import UserError


def find_checkout() -> str | None:
    """The folder that `$TIMM_SCRIPTS` names, or None where the variable is not set."""
    return os.environ.get('TIMM_SCRIPTS') or None


def find_in_checkout(checkout: str, name: str) -> Path:
    """The path of a script in a checkout, by its name without `.py`."""
    path = Path(checkout, f'{name}.py')
    if not os.path.isfile(path):
        scripts = ', '.join(sorted(path.stem for path in Path(checkout).glob('*.py')))
        raise UserError(
            f'TIMM_SCRIPTS is {checkout!r}, which has no {name}.py (its scripts: {scripts or "none"}): point it at a '
            f'checkout of pytorch-image-models, or unset it to use the bundled train and validate'
        )
    return path


def checkout_version(checkout: str) -> str | None:
    """The version of timm that a checkout is of, or None where it does not say."""
    version_file = Path(checkout, 'timm', 'version.py')
    match = re.search(r"__version__ = '(.+)'", version_file.read_text()) if version_file.is_file() else None
    return match[1] if match else None


def version_warning(checkout: str, installed: str) -> str | None:
    """What to know of a checkout that is of another version than the installed timm, or None."""
    if (version := checkout_version(checkout)) in (None, installed):
        return None
    return f'the scripts in TIMM_SCRIPTS are of timm {version}, installed is timm {installed}'
