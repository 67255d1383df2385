"""pytest plugin for a run of timm's own tests/test_models.py over our models alone.

timm's tests parametrise over `timm.list_models()` when they are collected; this narrows it to our names. A filter by
timm's module names would drop ours, so it is not passed on.
"""

import timm

import timm_vipriors

OURS = set(timm.list_models(module='dsk_resnext'))
assert timm_vipriors.__version__
_list_models = timm.list_models


def _list_our_models(filter='', module='', **kwargs):
    return [name for name in _list_models(filter, **kwargs) if name.split('.')[0] in OURS]


timm.list_models = _list_our_models
