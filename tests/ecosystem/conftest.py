"""Fixtures of the tests with other libraries."""

import argparse
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from .networks import DATA_CONFIG, SMALL, load_digits, train_on_digits


class Trained(NamedTuple):
    """A small network that knows the digits."""

    model: nn.Module
    checkpoint: Path  # as a training script writes it
    inputs: torch.Tensor  # the held-out images, normalised
    targets: torch.Tensor


@pytest.fixture(scope='session')
def trained(digits, tmp_path_factory) -> Trained:
    model = train_on_digits(digits, epochs=8)
    path = tmp_path_factory.mktemp('trained') / 'last.pth.tar'
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in DATA_CONFIG.items()}
    args = argparse.Namespace(model=SMALL, num_classes=10, **config)
    torch.save({'arch': SMALL, 'epoch': 7, 'state_dict': model.state_dict(), 'args': args}, path)
    return Trained(model, path, *load_digits(digits, 'validation'))
