"""Losses by name: `create_loss`, and the specs that the command line's `--criterion` takes."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from .base import Loss
from .center import CenterLoss
from .composite import CompositeLoss
from .cosine import CosineLoss
from .cross_entropy import CrossEntropyLoss
from .focal_cosine import FocalCosineLoss
from .positive_class import PositiveClassLoss
from .tree_supervision import TreeSupervisionLoss

CRITERIA = (
    'ce', 'ce+center', 'ce+tsl', 'ce+center+tsl',
    'cosine', 'cosine+center', 'cosine+tsl', 'cosine+center+tsl',
    'focal-cosine', 'focal-cosine+center', 'focal-cosine+tsl', 'focal-cosine+center+tsl',
    'pcl', 'pcl+center', 'pcl+tsl', 'pcl+center+tsl',
)  # fmt: skip
"""All specs that `create_loss` knows."""

BASES: dict[str, Callable[..., nn.Module]] = {
    'ce': CrossEntropyLoss,
    'cosine': CosineLoss,
    'focal-cosine': FocalCosineLoss,
    'pcl': PositiveClassLoss,
}
_ADDED = {'center': ('center', CenterLoss), 'tsl': ('tree', TreeSupervisionLoss)}  # with the prefix of their arguments
_UNPREFIXED = ('num_classes', 'feature_dim', 'hierarchy', 'steps_per_epoch')


def create_loss(spec: str, *, class_weights: torch.Tensor | Sequence[float] | None = None, **kwargs: Any) -> nn.Module:
    """Make a loss by its name.

    Args:
        spec: 'ce', 'cosine', 'focal-cosine' or 'pcl', each alone or with '+center', '+tsl' or '+center+tsl'.
        class_weights: How much a sample of each class counts (C,), in all terms; see `Loss.weight_classes`.
        **kwargs: The arguments of the first loss by their names. With '+center': `num_classes`, `feature_dim`,
            `center_weight`, `center_alpha`, `center_normalize`, `center_batch_size`. With '+tsl': `hierarchy` (a
            `ClassHierarchy`), or `num_classes`, `tree_start_epoch`, `tree_update_every` and `steps_per_epoch` for an
            online tree; `tree_weight`, `tree_mode`. With either, `base_weight`.

    Returns:
        A module called `loss(output, target)`, or `loss(output, target, features)` if its `needs_features` is true.

    Raises:
        ValueError: If the name or an argument is not known or missing, or an argument's value is wrong.

    Examples:
        >>> create_loss('focal-cosine', gamma=1.0)
        FocalCosineLoss(gamma=1.0, alpha=1.0, xent_weight=0.1, scale=1.0, reduction='mean')
        >>> create_loss('pcl+center', num_classes=10, feature_dim=64).needs_features
        True
    """
    check_arguments(spec, kwargs)
    base, *added = spec.split('+')
    missing = [name for name in ('num_classes', 'feature_dim') if kwargs.get(name) is None]
    if 'center' in added and missing:
        raise ValueError(f'criterion {spec!r} needs {" and ".join(missing)}')
    try:
        loss = _make(base, added, kwargs)
    except TypeError as e:
        raise ValueError(f'criterion {spec!r}: {e}') from e
    if class_weights is not None:
        for term in filter(lambda module: isinstance(module, Loss), loss.modules()):
            term.weight_classes(class_weights)
    return loss


def _make(base: str, added: Sequence[str], kwargs: dict[str, Any]) -> nn.Module:
    if not added:
        return BASES[base](**kwargs)
    terms = {_ADDED[part][0]: _ADDED[part][1](**_pick(kwargs, _added_arguments(part))) for part in added}
    weights = _pick(kwargs, {name: name for name in ('base_weight', *(f'{term}_weight' for term in terms))})
    shared = weights.keys() | {name for part in added for name in _added_arguments(part)}
    first = BASES[base](**{name: value for name, value in kwargs.items() if name not in shared})
    return CompositeLoss(first, **terms, **weights)


def check_arguments(spec: str, names: Iterable[str]) -> None:
    """Check the names of the arguments that `create_loss` is to get, without making the loss.

    `num_classes` and `feature_dim`, which a model gives, may still be missing.

    Args:
        spec: A name that `create_loss` knows.
        names: Names of arguments, such as the keys of a dict of them.

    Raises:
        ValueError: If the spec or an argument is not known, or the tree of '+tsl' is missing.

    Examples:
        >>> check_arguments('cosine', {'gamma': 2})
        Traceback (most recent call last):
        ValueError: criterion 'cosine' has no argument 'gamma'; it takes xent_weight, reduction
    """
    base, *added = check_spec(spec).split('+')
    known = [name for name in inspect.signature(BASES[base]).parameters if name not in ('device', 'dtype')]
    if added:
        known = [name for name in known if name != 'reduction'] + ['base_weight']
    for part in added:
        known += [name for name in (*_added_arguments(part), f'{_ADDED[part][0]}_weight') if name not in known]
    for name in names:
        if name not in known:
            raise ValueError(f'criterion {spec!r} has no argument {name!r}; it takes {", ".join(known)}')
    if 'tsl' in added and not {'hierarchy', 'tree_start_epoch'} & set(names):
        raise ValueError(f'criterion {spec!r} needs a hierarchy, or a tree_start_epoch to induce one online')


def check_spec(spec: str) -> str:
    """Return the name of a loss, or raise a ValueError that lists the known ones."""
    if spec not in CRITERIA:
        close = difflib.get_close_matches(spec, CRITERIA, n=1)
        hint = f' Did you mean {close[0]!r}?' if close else ''
        raise ValueError(
            f'unknown criterion {spec!r}: known are {", ".join(BASES)}, each also with +center, +tsl or +center+tsl.'
            f'{hint}'
        )
    return spec


def _added_arguments(part: str) -> dict[str, str]:
    """The arguments of `create_loss` for an added loss, and what that loss calls them: 'center_alpha' is 'alpha'."""
    prefix, make = _ADDED[part]
    names = [name for name in inspect.signature(make).parameters if name not in ('reduction', 'device', 'dtype')]
    return {name if name in _UNPREFIXED else f'{prefix}_{name}': name for name in names}


def _pick(kwargs: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Those arguments that have one of the names, by their new names."""
    return {new: kwargs[name] for name, new in names.items() if name in kwargs}
