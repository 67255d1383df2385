"""timm components for small image data sets trained from scratch.

Importing the package registers its models with timm; nothing else happens. Where torch or timm cannot be imported it
warns and registers nothing, so that `timm-vipriors doctor` can say what is wrong.
"""

import warnings as _warnings
from typing import Any as _Any

__version__ = '0.1.0.dev0'

try:
    from . import models as models
except Exception as _error:  # a broken installation raises more than ImportError: OSError, RuntimeError
    _warnings.warn(
        f'the models of timm_vipriors are not registered, since an import failed ({type(_error).__name__}: {_error}): '
        f'`timm-vipriors doctor` says what to do',
        RuntimeWarning,
        stacklevel=2,
    )


def __getattr__(name: str) -> _Any:
    if name == 'load_classifier':  # its module imports more than the registry needs
        from .inference.classifier import load_classifier

        return load_classifier
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
