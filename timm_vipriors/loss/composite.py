"""Losses by name: `create_loss('focal-cosine')` and the command line's `--criterion`."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from .cosine import CosineLoss, FocalCosineLoss


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """torch's cross-entropy, which takes class indices and soft labels alike."""

    needs_features = False


CRITERIA: dict[str, Callable[..., nn.Module]] = {
    'ce': CrossEntropyLoss,
    'cosine': CosineLoss,
    'focal-cosine': FocalCosineLoss,
}


def create_loss(spec: str, **kwargs: Any) -> nn.Module:
    """Make a loss by its name.

    Args:
        spec: One of `CRITERIA`: 'ce', 'cosine', 'focal-cosine'.
        **kwargs: The loss's own arguments.

    Returns:
        A module called `loss(output, target)`, or `loss(output, target, features)` if its `needs_features` is true.

    Raises:
        ValueError: If the name or an argument is not known, or an argument's value is wrong.

    Example:
        >>> create_loss('focal-cosine', gamma=1.0)
        FocalCosineLoss(gamma=1.0, alpha=1.0, xent_weight=0.1, scale=1.0, reduction='mean')
    """
    check_spec(spec)
    factory = CRITERIA[spec]
    known = [name for name in inspect.signature(factory).parameters if name not in ('device', 'dtype')]
    for name in kwargs:
        if name not in known:
            raise ValueError(f'criterion {spec!r} has no argument {name!r}; it takes {", ".join(known)}')
    try:
        return factory(**kwargs)
    except TypeError as e:
        raise ValueError(f'criterion {spec!r}: {e}') from e


def check_spec(spec: str) -> str:
    """Return the name of a loss, or raise a ValueError that lists the known ones."""
    if spec not in CRITERIA:
        close = difflib.get_close_matches(spec, CRITERIA, n=1)
        hint = f' Did you mean {close[0]!r}?' if close else ''
        raise ValueError(f'unknown criterion {spec!r}: known are {", ".join(CRITERIA)}.{hint}')
    return spec
