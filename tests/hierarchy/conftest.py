"""Fixtures that the tests of trees share."""

import builtins

import pytest
import timm
import torch

from timm_vipriors.hierarchy import ClassHierarchy


@pytest.fixture
def tree() -> ClassHierarchy:
    return ClassHierarchy([4, 4, 5, 5, 5, -1], ['cat', 'dog', 'car', 'bus'], {4: 'animal'})


@pytest.fixture(scope='module')
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model('test_dsk_resnext', num_classes=7)


@pytest.fixture
def no_matplotlib(monkeypatch):
    real = builtins.__import__

    def fail(name, *args, **kwargs):
        if name.startswith('matplotlib'):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', fail)
