"""The checkpoint that the tests of predictions share."""

import argparse

import pytest
import timm
import torch

from .predicting import MODEL, SIZE


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """As timm's train script writes one, with averaged weights that differ."""
    torch.manual_seed(0)
    models = [timm.create_model(MODEL, num_classes=10) for _ in range(2)]
    for model in models:
        torch.nn.init.normal_(model.get_classifier().weight, std=1.0)
        model.train()
        with torch.no_grad():
            model(torch.randn(16, 3, SIZE, SIZE))  # BatchNorm statistics
    path = tmp_path_factory.mktemp('checkpoint') / 'last.pth.tar'
    args = argparse.Namespace(
        model=MODEL, num_classes=10, img_size=SIZE, crop_pct=0.9, mean=[0.4, 0.4, 0.4], aa='rand-m5', hflip=0.0,
        color_jitter=0.0, scale=[0.6, 1.0], ratio=None, interpolation='', in_chans=None, gp=None, model_kwargs={},
    )  # fmt: skip
    torch.save(
        {
            'arch': MODEL,
            'epoch': 1,
            'state_dict': models[0].state_dict(),
            'state_dict_ema': models[1].state_dict(),
            'args': args,
        },
        path,
    )
    return path
