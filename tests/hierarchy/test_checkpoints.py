"""Trees induced from the classifier in a checkpoint."""

import argparse
import copy

import pytest
import torch
from timm.utils import CheckpointSaver

from timm_vipriors.hierarchy import ClassHierarchy


def test_training_checkpoint_and_its_average(model, tmp_path):
    ema = copy.deepcopy(model)
    torch.nn.init.normal_(ema.fc.weight)
    args = argparse.Namespace(model='test_dsk_resnext', num_classes=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    saver = CheckpointSaver(model, optimizer, args, checkpoint_dir=str(tmp_path), unwrap_fn=lambda m: m)
    saver.save_checkpoint(0)
    path = tmp_path / 'last.pth.tar'
    expected = ClassHierarchy.induce(model.fc.weight)
    assert ClassHierarchy.from_checkpoint(path) == expected
    assert ClassHierarchy.from_checkpoint(str(path), list('abcdefg')).class_names == tuple('abcdefg')
    with pytest.raises(ValueError, match='no averaged weights'):
        ClassHierarchy.from_checkpoint(path, use_ema=True)

    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, 'state_dict_ema': ema.state_dict()}, path)
    averaged = ClassHierarchy.induce(ema.fc.weight)
    assert averaged != expected
    assert ClassHierarchy.from_checkpoint(path, use_ema=False) == expected
    assert ClassHierarchy.from_checkpoint(path, use_ema=True) == averaged
    assert ClassHierarchy.from_checkpoint(path) == averaged


def test_names_come_from_the_checkpoint_that_says_them(model, tmp_path):
    names = list('gfedcba')
    torch.save({'state_dict': model.state_dict(), 'timm_vipriors': {'class_names': names}}, tmp_path / 'last.pth.tar')
    tree = ClassHierarchy.from_checkpoint(tmp_path)  # the folder of a run
    assert tree == ClassHierarchy.induce(model.fc.weight, names)
    assert ClassHierarchy.from_checkpoint(tmp_path, names) == tree
    for other, message in (
        (sorted(names), 'the same names in another order'),
        ([*names[:-1], 'x'], "missing are 'a', not known are 'x'"),
    ):
        with pytest.raises(ValueError, match=rf'not those of .*last\.pth\.tar: .*{message}'):
            ClassHierarchy.from_checkpoint(tmp_path, other)
