"""What a checkpoint says about itself: its model, its classes, and how its images were prepared.

Our runs write all of it under the key `timm_vipriors`. Of other checkpoints the arguments of timm's training script are
used, as far as they are there, and beside the weights of a hub folder (timm's `save_for_hf`) its config.json.
"""

import json
import os
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import clean_state_dict

from .files import read_checkpoint

DESCRIPTION = 'timm_vipriors'  # the key in a checkpoint
DATA_KEYS = ('input_size', 'mean', 'std', 'interpolation', 'crop_pct', 'crop_mode')
_OF_A_RUN = ('model_best.pth.tar', 'last.pth.tar')
HUB_WEIGHTS = ('model.safetensors', 'pytorch_model.bin')
# where timm's, torchvision's and most other models keep their last layer, the most specific name first
_CLASSIFIERS = (
    'head.fc.fc2 head.fc2 head.fc head.head.l head.l head.linear head.classifier.linear heads.head heads.0 head fc '
    'last_linear classifier classifier.6 classifier.3 classifier.1'
).split()
# of which type a description's values must be: a checkpoint may come from anyone
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(('num_classes', 'in_chans', 'img_size'), int),
    **dict.fromkeys(('input_size', 'mean', 'std', 'class_names'), (list, tuple)),
    **dict.fromkeys(('model', 'gp', 'interpolation', 'crop_mode'), str),
    'model_kwargs': dict,
    'crop_pct': (int, float),
}


def find_checkpoint(path: str | os.PathLike) -> str:
    """The path of a checkpoint: the file itself, the best or else last one of a run's folder, or a hub folder's.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = os.fspath(path)
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise FileNotFoundError(f'{path} does not exist: expected a checkpoint, or the folder of a run')
        return path
    for name in (*_OF_A_RUN, *HUB_WEIGHTS):
        if os.path.isfile(os.path.join(path, name)):
            return os.path.join(path, name)
    raise FileNotFoundError(
        f'{path} has no checkpoint: expected {" or ".join(_OF_A_RUN)} in the folder of a run, or config.json '
        f'and {" or ".join(HUB_WEIGHTS)} in one of the hub'
    )


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        path: The file.
        content: All of it.
        trained: The arguments of the training script, {} where it has none.
        description: What our runs or a hub folder say about it, {} where there is nothing.
    """

    path: str
    content: dict[str, Any]
    trained: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | os.PathLike, mmap: bool = False) -> 'Checkpoint':
        """Read a file, or the checkpoint in a folder; see `find_checkpoint` and `read_checkpoint` for the errors."""
        path = find_checkpoint(path)
        content = read_checkpoint(path, mmap)
        trained, description = content.get('args'), content.get(DESCRIPTION)
        trained = dict(vars(trained)) if isinstance(trained, Namespace) else {}
        return cls(path, content, trained, description if isinstance(description, dict) else _hub_config(path))

    def get(self, key: str) -> Any:
        """A value by its name in `args`, from the description where that has it; None where neither has.

        Raises:
            ValueError: If it is of a type that it cannot have.
        """
        value = self.description.get(key)
        value = self.trained.get(key) if value is None else value
        if value in (None, '', {}, [], ()):
            return None
        if key in _TYPES and not isinstance(value, _TYPES[key]):
            raise ValueError(f'{self.path} says {key} = {value!r:.80}, which is of a wrong type: give a flag for it')
        return value

    @property
    def model(self) -> str | None:
        """The model's name, or None."""
        names = self.description.get('model'), self.content.get('arch'), self.trained.get('model')
        return next((name for name in names if isinstance(name, str) and name), None)

    @property
    def class_names(self) -> list[str] | None:
        """The classes in the order of the logits, or None where the checkpoint does not name them."""
        names = self.get('class_names')
        return list(map(str, names)) if names else None

    @property
    def num_classes(self) -> int | None:
        """The number of classes: as it says, or else the rows of its classifier."""
        if self.class_names:
            return len(self.class_names)
        if self.get('num_classes'):
            return self.get('num_classes')
        try:
            return len(self.classifier_weight())
        except ValueError:
            return None

    def has_ema(self) -> bool:
        """Whether it has averaged weights, of which are the figures in the log and summary.csv of its run."""
        return self.content.get('state_dict_ema') is not None

    def state_dict(self, use_ema: bool | None = None) -> dict[str, torch.Tensor]:
        """The weights by their names in the model, without the prefixes of wrappers (DDP, torch.compile, Lightning …).

        Args:
            use_ema: The averaged weights or the plain ones; None, as timm's `load_state_dict`, for the averaged ones
                where there are any.

        Raises:
            ValueError: If averaged weights are asked for and there are none, or there are no weights at all.
        """
        if use_ema and not self.has_ema():
            raise ValueError(f'{self.path} has no averaged weights: leave --use-ema out, or train with --model-ema')
        use_ema = self.has_ema() if use_ema is None else use_ema
        inner = self.content.get('model')  # where some training scripts other than timm's have it
        state = self.content.get('state_dict', inner if isinstance(inner, dict) else self.content)
        state = self.content['state_dict_ema'] if use_ema else state
        if not isinstance(state, dict):
            raise ValueError(f'{self.path} has no weights: expected a state_dict')
        state = {key: value for key, value in state.items() if isinstance(key, str)}
        return _unwrapped(state, (*self._classifier_names(), *_CLASSIFIERS))

    def classifier_weight(self, use_ema: bool | None = None) -> torch.Tensor:
        """The classifier's weight (C, D); a 1×1 convolution is taken as the linear layer that it is.

        It is found by the model's name where timm knows it, else by the names that classifiers usually have.

        Raises:
            ValueError: If there is none.
        """
        state = self.state_dict(use_ema)
        for name in (*self._classifier_names(), *_CLASSIFIERS):
            weight = state.get(f'{name}.weight')
            if isinstance(weight, torch.Tensor) and weight.ndim in (2, 4) and weight.shape[2:].numel() == 1:
                return weight.flatten(1)
        raise ValueError(
            f'{self.path} has no classifier: expected a linear layer or 1×1 convolution named fc, classifier, head …'
        )

    def _classifier_names(self) -> tuple[str, ...]:
        if self.model is None or not timm.is_model(self.model):
            return ()
        cfg = timm.get_pretrained_cfg(self.model.split('.')[0])  # without the weights' tag, which may be unknown here
        name = getattr(cfg, 'classifier', None) or ()
        return (name,) if isinstance(name, str) else tuple(name)


def _unwrapped(state: dict[str, Any], classifiers: tuple[str, ...]) -> dict[str, Any]:
    """The state of the model that most of a wrapper's state belongs to, which shows by its classifier."""
    state = clean_state_dict(state)
    weights = {f'{name}.weight' for name in classifiers}
    if weights & state.keys():
        return state
    for prefix, count in Counter(key.partition('.')[0] for key in state).most_common(1):
        if 2 * count > len(state) and any(f'.{weight}' in key for key in state for weight in weights):
            inner = {key[len(prefix) + 1 :]: value for key, value in state.items() if key.startswith(f'{prefix}.')}
            found = _unwrapped(inner, classifiers)
            if weights & found.keys():
                return found
    return state


def _hub_config(path: str) -> dict[str, Any]:
    """The description in the config.json beside the weights of a hub folder, {} where there is none."""
    config = Path(path).with_name('config.json')
    if os.path.basename(path) not in HUB_WEIGHTS or not config.is_file():
        return {}
    try:
        said = json.loads(config.read_text(encoding='utf-8'))
        if not isinstance(said, dict) or not isinstance(said.get('pretrained_cfg', {}), dict):
            raise ValueError('expected an object, and in it another one as pretrained_cfg')
    except ValueError as e:
        raise ValueError(f'{config} is not the config.json of a model: {e}') from e
    cfg = said.get('pretrained_cfg', said)  # one level in folders of old versions of timm
    names = said.get('label_names', cfg.get('label_names'))
    about = {'model': said.get('architecture'), 'num_classes': said.get('num_classes', cfg.get('num_classes'))}
    more = {'model_kwargs': said.get('model_args'), 'class_names': names if isinstance(names, list) else None}
    return {**{key: cfg.get(key) for key in DATA_KEYS}, **about, **more}
