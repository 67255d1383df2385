"""The command `predict` for tests, and the model that they predict with."""

import numpy as np

from timm_vipriors.cli import main

MODEL = 'test_dsk_resnext'
SIZE = 32


def run(*argv, code=0):
    assert main(['predict', *map(str, argv)]) == code


def read(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
