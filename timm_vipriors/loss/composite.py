"""The composite objective (VIPF Eq. 3), and losses by name: `create_loss` and the command line's `--criterion`."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..hierarchy import ClassHierarchy
from .center import CenterLoss
from .cosine import CosineLoss, FocalCosineLoss
from .positive_class import PositiveClassLoss
from .tree_supervision import TreeSupervisionLoss


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """torch's cross-entropy, which takes class indices and soft labels alike."""

    needs_features = False


BASES: dict[str, Callable[..., nn.Module]] = {
    'ce': CrossEntropyLoss,
    'cosine': CosineLoss,
    'focal-cosine': FocalCosineLoss,
    'pcl': PositiveClassLoss,
}
ADDITIONS = ('center', 'tsl')
CRITERIA = tuple('+'.join((base, *added)) for base in BASES for added in ((), ('center',), ('tsl',), ('center', 'tsl')))
"""All names that `create_loss` knows."""


class CompositeLoss(nn.Module):
    """A weighted sum of a loss, the centre loss and tree supervision. A term that is None is left out.

    Args:
        base: Called `base(output, target)`.
        center: The centre loss.
        tree: The tree supervision loss.
        base_weight: Weight of the first.
        center_weight: Weight of the second.
        tree_weight: Weight of the third.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); features (B, D), needed with a centre
        loss only; the loss is ().
    """

    needs_features = True  # of an instance without centre loss it is false

    def __init__(
        self,
        base: nn.Module | None,
        center: CenterLoss | None = None,
        tree: TreeSupervisionLoss | None = None,
        base_weight: float = 1.0,
        center_weight: float = 0.0005,
        tree_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if base is None and center is None and tree is None:
            raise ValueError('a composite loss needs at least one term, got none')
        self.base, self.center, self.tree = base, center, tree
        self.weights = {'base': base_weight, 'center': center_weight, 'tree': tree_weight}
        self.needs_features = center is not None

    def extra_repr(self) -> str:
        return ', '.join(f'{name}_weight={weight}' for name, weight in self.weights.items())

    def attach(self, classifier: nn.Module) -> None:
        """Show the classifier to a tree that grows from it."""
        if self.tree is not None:
            self.tree.attach(classifier)

    def terms(
        self, output: torch.Tensor, target: torch.Tensor, features: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The terms without their weights, by name: 'base', 'center', 'tree'."""
        terms = {}
        if self.base is not None:
            terms['base'] = self.base(output, target)
        if self.center is not None:
            if features is None:
                raise ValueError('the centre loss needs features: call loss(output, target, features)')
            terms['center'] = self.center(output, target, features)
        if self.tree is not None:
            terms['tree'] = self.tree(output, target)
        return terms

    def forward(self, output: torch.Tensor, target: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        terms = self.terms(output, target, features)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()


class VIPriorsLoss(CompositeLoss):
    """The composite objective of VIPF Eq. 3: positive class loss, centre loss and tree supervision.

    How we read the paper: it gives "α, γ and β are set to 1, 0.0005 and 1". The 0.0005 can only belong to the centre
    loss, which is of the size of squared distances, so the weights are 1 (positive class), 0.0005 (centre), 1 (tree).

    Args:
        num_classes: C.
        feature_dim: D, the width of the features. None leaves the centre loss out, as a weight of 0 does.
        hierarchy: The tree. None leaves tree supervision out, as a weight of 0 does.
        pcl_weight: Weight of the positive class loss; 0 leaves it out.
        center_weight: Weight of the centre loss.
        tree_weight: Weight of tree supervision.
        device: Where the centres are made.
        dtype: Type of the centres.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); features (B, D), needed with a centre
        loss only; the loss is ().

    Examples:
        >>> loss = VIPriorsLoss(num_classes=4, feature_dim=8)
        >>> loss(torch.zeros(2, 4), torch.tensor([0, 3]), torch.zeros(2, 8))
        tensor(1.8863)
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int | None = None,
        hierarchy: ClassHierarchy | None = None,
        pcl_weight: float = 1.0,
        center_weight: float = 0.0005,
        tree_weight: float = 1.0,
        device=None,
        dtype=None,
    ) -> None:
        center = tree = None
        if feature_dim is not None and center_weight:
            center = CenterLoss(num_classes, feature_dim, device=device, dtype=dtype)
        if hierarchy is not None and tree_weight:
            tree = TreeSupervisionLoss(hierarchy, num_classes=num_classes)
        base = PositiveClassLoss() if pcl_weight else None
        super().__init__(base, center, tree, pcl_weight, center_weight, tree_weight)


def create_loss(spec: str, **kwargs: Any) -> nn.Module:
    """Make a loss by its name.

    Args:
        spec: 'ce', 'cosine', 'focal-cosine' or 'pcl', each alone or with '+center', '+tsl' or '+center+tsl'.
        **kwargs: The arguments of the first loss by their names. With '+center': `num_classes`, `feature_dim`,
            `center_weight`, `center_alpha`, `center_normalize`. With '+tsl': `hierarchy` (a `ClassHierarchy`), or
            `num_classes`, `tree_start_epoch`, `tree_update_every` and `steps_per_epoch` for an online tree;
            `tree_weight`, `tree_mode`. With either, `base_weight`.

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
    check_spec(spec)
    base_name, *added = spec.split('+')
    known = _arguments(spec)
    for name in kwargs:
        if name not in known:
            raise ValueError(f'criterion {spec!r} has no argument {name!r}; it takes {", ".join(known)}')
    missing = [name for name in ('num_classes', 'feature_dim') if kwargs.get(name) is None]
    if 'center' in added and missing:
        raise ValueError(f'criterion {spec!r} needs {" and ".join(missing)}')
    if 'tsl' in added and kwargs.get('hierarchy') is None and kwargs.get('tree_start_epoch') is None:
        raise ValueError(f'criterion {spec!r} needs a hierarchy, or a tree_start_epoch to induce one online')
    shared = set().union(*(_ADDED_ARGUMENTS[part] for part in added), {'base_weight'} if added else set())
    try:
        base = BASES[base_name](**{k: v for k, v in kwargs.items() if k not in shared})
        if not added:
            return base
        center = tree = None
        if 'center' in added:
            center = CenterLoss(
                kwargs['num_classes'],
                kwargs['feature_dim'],
                alpha=kwargs.get('center_alpha', 0.5),
                normalize=kwargs.get('center_normalize', False),
            )
        if 'tsl' in added:
            tree = TreeSupervisionLoss(
                kwargs.get('hierarchy'),
                mode=kwargs.get('tree_mode', 'path'),
                num_classes=kwargs.get('num_classes'),
                start_epoch=kwargs.get('tree_start_epoch'),
                update_every=kwargs.get('tree_update_every', 10),
                steps_per_epoch=kwargs.get('steps_per_epoch'),
            )
        weights = {name: kwargs[name] for name in ('base_weight', 'center_weight', 'tree_weight') if name in kwargs}
        return CompositeLoss(base, center, tree, **weights)
    except TypeError as e:
        raise ValueError(f'criterion {spec!r}: {e}') from e


_ADDED_ARGUMENTS = {
    'center': ('num_classes', 'feature_dim', 'center_weight', 'center_alpha', 'center_normalize'),
    'tsl': (
        'hierarchy',
        'num_classes',
        'tree_start_epoch',
        'tree_update_every',
        'steps_per_epoch',
        'tree_weight',
        'tree_mode',
    ),
}


def _arguments(spec: str) -> list[str]:
    """Names of the arguments that a loss takes."""
    base, *added = spec.split('+')
    names = [name for name in inspect.signature(BASES[base]).parameters if name not in ('device', 'dtype')]
    if added:
        names = [name for name in names if name != 'reduction'] + ['base_weight']
    for part in added:
        names += [name for name in _ADDED_ARGUMENTS[part] if name not in names]
    return names


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
