"""The loss that a run's flags ask for: described and checked once, built once, when the model is known."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..errors import UserError
from ..hierarchy import ClassHierarchy
from ..loss import balanced_weights, create_loss
from ..loss.factory import check_arguments


@dataclass(frozen=True)
class LossSpec:
    """A loss by its name.

    Args:
        name: As `create_loss` takes it, such as 'pcl+center'.
        kwargs: Its arguments, as far as the model does not give them.
        hierarchy: The tree of a loss with '+tsl' that is given one.
        balanced: Whether each class counts the same, however many images it has.

    Examples:
        >>> LossSpec('focal-cosine', {'gamma': 1.0}).build(num_classes=10, feature_dim=64).gamma
        1.0
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    hierarchy: ClassHierarchy | None = None
    balanced: bool = False

    @classmethod
    def from_flags(cls, args: argparse.Namespace) -> 'LossSpec | None':
        """The loss of --criterion, its kwargs, --hierarchy and --class-weights; None leaves the script's own."""
        name, kwargs, tree = args.criterion, dict(args.criterion_kwargs or {}), args.hierarchy
        balanced = args.class_weights == 'balanced'
        if name is None and (kwargs or tree):
            raise UserError('--criterion-kwargs and --hierarchy need a --criterion')
        if name is None and not balanced:
            return None
        ours = '--class-weights' if name is None else '--criterion'
        name = name or 'ce'  # as the script's own
        if args.jsd_loss or args.bce_loss:
            raise UserError(f"{ours} replaces the script's loss: leave --jsd-loss and --bce-loss out")
        if args.kd_model_name:
            raise UserError(f'{ours} does not work with distillation: leave --kd-model-name out')
        if 'tsl' in name.split('+') and not tree and kwargs.get('tree_start_epoch') is None:
            raise UserError(
                f'--criterion {name} needs a tree: --hierarchy FILE (timm-vipriors hierarchy induce makes one), or '
                f'--criterion-kwargs tree_start_epoch=M to grow one from the model'
            )
        check_arguments(name, [*kwargs, *(['hierarchy'] if tree else [])])
        return cls(name, kwargs, ClassHierarchy.load(tree) if tree else None, balanced)

    def build(
        self,
        num_classes: int,
        feature_dim: int,
        class_names: Sequence[str] | None = None,
        batch_size: int | None = None,
        class_counts: Sequence[int] | None = None,
    ) -> nn.Module:
        """The loss for a model, whose tree has its leaves in the order of `class_names`.

        `batch_size` is the images of an update (see `CenterLoss`); a balanced loss needs those of each class.
        """
        kwargs = dict(self.kwargs)
        if self.hierarchy is not None:
            kwargs['hierarchy'] = self.hierarchy if class_names is None else self.hierarchy.reordered(class_names)
        if '+' in self.name:
            kwargs.setdefault('num_classes', num_classes)
        if 'center' in self.name.split('+'):
            kwargs.setdefault('feature_dim', feature_dim)
            kwargs.setdefault('center_batch_size', batch_size)
        weights = balanced_weights(class_counts) if self.balanced else None
        return create_loss(self.name, class_weights=weights, **kwargs)
