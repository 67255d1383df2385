"""Classifiers from checkpoints: `load_classifier`."""

import math
import os
from collections.abc import Sequence
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_data_config
from timm.data.loader import adapt_to_chs
from timm.utils import reparameterize_model
from torch import nn

from ..checkpoint import DATA_KEYS, HUB_WEIGHTS, Checkpoint
from ..files import first_line, first_names
from .predict import Classifier, check_class_names

SETTINGS = ('num_classes', 'in_chans', 'gp', 'model_kwargs', 'img_size', *DATA_KEYS)
# the transform of a training script, by the names of timm's create_transform
_TRAIN_TRANSFORM = {
    **{name: name for name in ('scale', 'ratio', 'hflip', 'vflip', 'color_jitter')},
    'aa': 'auto_augment',
    'train_interpolation': 'interpolation',
}
_NO_TEST_SIZE = dict(test_input_size=None, test_crop_pct=None)


def load_classifier(
    checkpoint: str | os.PathLike | None,
    *,
    model: str | None = None,
    class_names: Sequence[str] | None = None,
    use_ema: bool | None = None,
    device: torch.device | str | None = None,
    fuse: bool = False,
    **settings: Any,
) -> Classifier:
    """Load a trained model with its classes and the preparation of its images, as the checkpoint describes them.

    Args:
        checkpoint: A checkpoint, the folder of a run (its best checkpoint), a hub folder (timm's `save_for_hf`), or
            hf-hub:USER/NAME (timm's `push_to_hf_hub`). None takes timm's published weights of the model.
        model: The model's name, if the checkpoint does not say it.
        class_names: The classes in order, if the checkpoint does not name them.
        use_ema: Whether to take the averaged weights. None, as in timm, takes them if there are any; the accuracies in
            the log and summary.csv of such a run are theirs.
        device: Where to compute, the CPU by default.
        fuse: Fuse what can be fused, for speed.
        **settings: What replaces the checkpoint's own: `num_classes`, `in_chans`, `gp`, `model_kwargs`, `img_size`,
            `input_size`, `mean`, `std`, `interpolation`, `crop_pct`, `crop_mode`.

    Raises:
        ValueError: If the file is not a checkpoint, does not say enough, or does not fit the settings.
        OSError: If it cannot be read.
    """
    if unknown := settings.keys() - set(SETTINGS):
        raise TypeError(f'unknown settings {first_names(unknown)}: expected {", ".join(SETTINGS)}')
    published = checkpoint is None
    source = Checkpoint('the published model', {}) if published else Checkpoint.read(_local(os.fspath(checkpoint)))
    name = model or source.model
    if name is None:
        raise ValueError(f'{source.path} does not say which model it is of: name it with --model')
    if published and timm.is_model(name) and not timm.is_model_pretrained(name):
        raise ValueError(f'there are no published weights for {name}: name a checkpoint')
    values = _resolved({key: value for key, value in settings.items() if value not in (None, '', {}, [])}, source)
    kwargs = {**(values.get('model_kwargs') or {}), **{key: values.get(key) for key in ('num_classes', 'in_chans')}}
    if values.get('gp'):
        kwargs['global_pool'] = values['gp']
    try:
        network = timm.create_model(name, pretrained=published, **kwargs)
    except Exception as e:  # model_kwargs go into the model as they are
        raise ValueError(f'the model {name} cannot be made with these settings: {first_line(e)}') from e
    if not published:
        network = _with_weights(network, name, source, use_ema)
    trained = {key: value for key, value in source.trained.items() if value not in (None, '')}
    train_config = {ours: trained[key] for key, ours in _TRAIN_TRANSFORM.items() if key in trained}
    class_names = _agreed_names(class_names, source, network)
    try:
        config = resolve_data_config(values, model=network)
        config['input_size'] = (values['in_chans'], *config['input_size'][1:])
        config.update({key: tuple(adapt_to_chs(config[key], values['in_chans'])) for key in ('mean', 'std')})
        about = {**config, 'num_classes': network.num_classes}
        # where timm's own functions, such as save_for_hf, look
        network.pretrained_cfg = {**network.pretrained_cfg, **about, **_NO_TEST_SIZE, 'label_names': class_names}
        network.default_cfg = network.pretrained_cfg
        network = reparameterize_model(network.eval()) if fuse else network
        about = {**values, **about, 'model': name, 'class_names': class_names}
        classifier = Classifier(network, config, class_names, name, train_config, about).to(device or 'cpu')
        found = classifier(Image.new('RGB', config['input_size'][:0:-1]))
        if not all(map(math.isfinite, found.values())):
            raise ValueError('its output is not finite')
    except Exception as e:  # timm has asserts and a KeyError, torch a RuntimeError
        given = ', '.join(f'{key} {values[key]}' for key in DATA_KEYS if values.get(key))
        raise ValueError(f'{name} cannot classify images with {given or "its settings"}: {first_line(e)}') from e
    return classifier


def _local(checkpoint: str) -> str:
    """The path of a checkpoint, fetched from the hub if the name says so."""
    if not checkpoint.startswith('hf-hub:'):
        return checkpoint.removeprefix('local-dir:')
    import huggingface_hub  # comes with timm

    try:
        return huggingface_hub.snapshot_download(
            checkpoint.removeprefix('hf-hub:'), allow_patterns=['config.json', *HUB_WEIGHTS]
        )
    except Exception as e:  # the hub's own, and those of its HTTP library
        raise ValueError(f'{checkpoint} cannot be fetched: {first_line(e)}') from e


def _resolved(settings: dict[str, Any], source: Checkpoint) -> dict[str, Any]:
    """The settings, completed by the checkpoint's; a size of either form replaces the checkpoint's."""
    said = {key: source.get(key) for key in SETTINGS}
    said['num_classes'] = said['num_classes'] or source.num_classes
    for key in ('num_classes', 'in_chans', 'img_size', 'crop_pct'):
        if settings.get(key, 1) <= 0:  # timm takes 0 for its default
            raise ValueError(f'--{key.replace("_", "-")} must be above 0, got {settings[key]}')
    channels, size = None, None
    for values in (settings, said):
        square = values.get('img_size') and [values.get('in_chans'), values['img_size'], values['img_size']]
        size = size or values.get('input_size') or square
        channels = channels or values.get('in_chans') or (values.get('input_size') or [None])[0]
    channels = channels or 3
    if size and (len(size) != 3 or (settings.get('input_size') or [channels])[0] != channels):
        raise ValueError(f'--input-size {size} does not fit {channels} channels, height and width')
    values = {**said, **settings, 'in_chans': channels, 'img_size': None}
    if values.get('crop_mode') not in (None, 'center', 'squash', 'border'):  # timm would take it for center
        raise ValueError(f'--crop-mode must be center, squash or border, got {values["crop_mode"]}')
    for key in ('mean', 'std'):
        if (given := values.get(key)) and len(given) not in (1, channels):
            raise ValueError(f'--{key}: expected one number, or one for each of {channels} channels, got {given}')
    return {**values, 'input_size': size and (channels, *size[1:])}


def _with_weights(network: nn.Module, name: str, source: Checkpoint, use_ema: bool | None) -> nn.Module:
    """The network with the weights of a checkpoint; a fused network for those of one."""
    state = source.state_dict(use_ema)
    for candidate in (lambda: network, lambda: reparameterize_model(network.eval())):
        try:
            model = candidate()
            model.load_state_dict(state)
            return model
        except Exception as e:  # a state dict may hold anything
            error = e
    said = f'{source.path} is a checkpoint of {source.model or "another model"} with {source.num_classes} classes'
    raise ValueError(f'{said}, which does not fit --model {name} with {network.num_classes} classes') from error


def _agreed_names(names: Sequence[str] | None, source: Checkpoint, network: nn.Module) -> list[str] | None:
    """The class names that are given, or those of the checkpoint; if there are both they must be the same."""
    own = source.class_names
    if not source.content and (subset := infer_imagenet_subset(network)):
        own = ImageNetInfo(subset).label_names()
    if own and names is not None and list(names) != own:
        raise ValueError(
            f'{source.path} has the classes {first_names(own)}, which the given names contradict '
            f'({first_names(names)}): leave --classes out'
        )
    names = own if names is None else list(names)
    check_class_names(names, network.num_classes)
    if names is None and source.get('class_map'):
        raise ValueError(
            f'{source.path} was trained with a --class-map, whose order of classes it does not say: give '
            'the names in that order with --classes'
        )
    return names
