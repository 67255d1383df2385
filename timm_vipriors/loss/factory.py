"""Losses by name: `create_loss`, and the names that the command line's `--criterion` takes."""

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
_ADDED = {'center': ('center', CenterLoss), 'tsl': ('tree', TreeSupervisionLoss)}  # by the prefix of their arguments
_SHARED = ('num_classes', 'feature_dim', 'hierarchy', 'steps_per_epoch')


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
    try:
        terms = {
            name: make(**{theirs: kwargs[ours] for ours, theirs in arguments.items() if ours in kwargs})
            for name, (make, arguments) in _terms(spec).items()
        }
    except TypeError as e:
        raise ValueError(f'criterion {spec!r}: {e}') from e
    weights = {f'{name}_weight' for name in terms} & kwargs.keys()
    loss = CompositeLoss(**terms, **{name: kwargs[name] for name in weights}) if len(terms) > 1 else terms['base']
    if class_weights is not None:
        for term in filter(lambda module: isinstance(module, Loss), loss.modules()):
            term.weight_classes(class_weights)
    return loss


def _terms(spec: str) -> dict[str, tuple[Callable[..., nn.Module], dict[str, str]]]:
    """The class of each term, and the arguments of `create_loss` that it takes, with its own names of them."""
    base, *added = check_spec(spec).split('+')
    terms, taken = {}, ['device', 'dtype', *(['reduction'] if added else [])]
    for part in added:
        name, make = _ADDED[part]
        own = [key for key in inspect.signature(make).parameters if key not in ('device', 'dtype', 'reduction')]
        terms[name] = make, {key if key in _SHARED else f'{name}_{key}': key for key in own}
        taken += terms[name][1]
    own = {key: key for key in inspect.signature(BASES[base]).parameters if key not in taken}
    return {'base': (BASES[base], own), **terms}


def check_arguments(spec: str, names: Iterable[str]) -> None:
    """Raise a ValueError if `create_loss` does not know a spec, or the name of an argument of it.

    `num_classes` and `feature_dim`, which a model gives, may still be missing.

    Examples:
        >>> check_arguments('cosine', {'gamma': 2})
        Traceback (most recent call last):
        ValueError: criterion 'cosine' has no argument 'gamma'; it takes xent_weight, reduction
    """
    terms = _terms(spec)
    known = [argument for _, arguments in terms.values() for argument in arguments]
    known += [f'{name}_weight' for name in terms] if len(terms) > 1 else []
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f'criterion {spec!r} has no argument {unknown[0]!r}; it takes {", ".join(known)}')


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
