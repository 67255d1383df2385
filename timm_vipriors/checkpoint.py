"""Checkpoints of timm models: reading them safely, and finding the classifier in them."""

import argparse
import os
import zipfile
from typing import Any

import timm
import torch
from timm.models import clean_state_dict

# where timm's, torchvision's and most other models keep their last layer, the most telling name first
_CLASSIFIERS = (
    *('head.fc.fc2', 'head.fc2', 'head.fc', 'head.head.l', 'head.l', 'head.linear', 'head.classifier.linear'),
    *(
        'heads.head',
        'heads.0',
        'head',
        'fc',
        'last_linear',
        'classifier',
        'classifier.6',
        'classifier.3',
        'classifier.1',
    ),
)


def read_checkpoint(path: str, whole: bool = True) -> dict:
    """Read a checkpoint without running code from it.

    Args:
        path: The file.
        whole: Read the tensors and compare the checksums, too; else tensors are read where they are used.

    Raises:
        ValueError: If the file is not one.
        OSError: If the file cannot be opened.
    """
    try:
        if path.endswith('.safetensors'):
            from safetensors.torch import load_file

            return {'state_dict': load_file(path)}
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True, mmap=not whole)
        damaged = find_damage(path) if whole else None
    except OSError:
        raise
    except Exception as e:  # torch, pickle and safetensors each have their own
        raise ValueError(f'{path} is not a checkpoint: neither torch (weights only) nor safetensors can read it') from e
    if damaged is not None:
        raise ValueError(f'{path} is damaged: the checksum of {damaged!r} in it is wrong')
    return checkpoint if isinstance(checkpoint, dict) else {}


def find_damage(path: str) -> str | None:
    """The name of a part of a checkpoint whose checksum is wrong, which torch does not look at; None if there is none.

    Raises:
        zipfile.BadZipFile: If what torch has read is no archive that Python can read.
    """
    if not zipfile.is_zipfile(path):  # the form before torch 1.6, which has no checksums
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def read_classifier(path: str | os.PathLike, use_ema: bool = False) -> torch.Tensor:
    """The classifier's weight (C, D) of a checkpoint.

    It is found by the model's name where the checkpoint has one that timm knows, else by the names that classifiers
    usually have. A 1×1 convolution is taken as the linear layer that it is.

    Args:
        path: A checkpoint of timm's train script, a bare state dict, or a .safetensors file.
        use_ema: Take the averaged weights instead of the trained ones.

    Raises:
        ValueError: If the file cannot be read, or has no averaged weights or no classifier.
        FileNotFoundError: If there is no such file.
    """
    path = os.fspath(path)
    checkpoint = read_checkpoint(path)
    if use_ema and 'state_dict_ema' not in checkpoint:
        raise ValueError(f'{path} has no averaged weights: expected the key state_dict_ema')
    state = checkpoint['state_dict_ema'] if use_ema else checkpoint.get('state_dict', checkpoint)
    state = {key: value for key, value in state.items() if isinstance(key, str)} if isinstance(state, dict) else {}
    state = clean_state_dict(state)
    for name in (_classifier_of(checkpoint), *_CLASSIFIERS):
        weight = state.get(f'{name}.weight')
        if isinstance(weight, torch.Tensor) and weight.ndim in (2, 4) and weight.shape[2:].numel() == 1:
            return weight.flatten(1)
    raise ValueError(
        f'{path} has no classifier: expected a linear layer or 1×1 convolution named fc, classifier, head …'
    )


def _classifier_of(checkpoint: dict[str, Any]) -> str | None:
    """The classifier's name by timm's record of the model, or None."""
    names = checkpoint.get('arch'), getattr(checkpoint.get('args'), 'model', None)
    arch = next((name for name in names if isinstance(name, str) and name), None)
    if arch is None or not timm.is_model(arch):
        return None
    cfg = timm.get_pretrained_cfg(arch.split('.')[0])  # without the weights' tag, which may be unknown here
    name = getattr(cfg, 'classifier', None)
    return name[0] if isinstance(name, list | tuple) else name
