"""The flags that choose a criterion, and the criterion that they choose."""

import argparse
from typing import Any

from torch import nn

from ..errors import UserError
from ..hierarchy import ClassHierarchy
from ..loss import create_loss
from ..loss.factory import BASES, check_spec
from .options import KeyValues


def add_criterion_options(group: argparse._ActionsContainer) -> None:
    """Add our flags to a training script's."""

    def criterion(spec: str) -> str:
        try:
            return check_spec(spec)
        except ValueError as e:
            raise argparse.ArgumentTypeError(str(e)) from None

    group.add_argument(
        '--criterion',
        type=criterion,
        metavar='SPEC',
        help=f"training loss in place of the script's own: {', '.join(BASES)}, each also with +center, +tsl or "
        '+center+tsl',
    )
    group.add_argument(
        '--criterion-kwargs',
        nargs='+',
        default={},
        action=KeyValues,
        metavar='K=V',
        help='its arguments, such as gamma=2 xent_weight=0.1',
    )
    group.add_argument(
        '--hierarchy',
        default='',
        metavar='FILE',
        help='tree of the classes for +tsl, as `timm-vipriors hierarchy` writes it; without one, '
        '--criterion-kwargs tree_start_epoch=M tree_update_every=N grows one from the model',
    )


def check_criterion(args: argparse.Namespace) -> dict[str, Any] | None:
    """The arguments of the criterion that the flags ask for, but for those that the model gives; None for no criterion.

    Raises:
        UserError: If the flags do not make a criterion.
    """
    spec, kwargs = getattr(args, 'criterion', None), dict(getattr(args, 'criterion_kwargs', None) or {})
    if spec is None:
        if kwargs or getattr(args, 'hierarchy', ''):
            raise UserError('--criterion-kwargs and --hierarchy need a --criterion')
        return None
    if getattr(args, 'jsd_loss', False) or getattr(args, 'bce_loss', False):
        raise UserError('--criterion replaces the loss of the script: leave --jsd-loss and --bce-loss out')
    if getattr(args, 'kd_model_name', None):
        raise UserError('--criterion does not go together with distillation: leave --kd-model-name out')
    try:
        if 'tsl' in spec.split('+'):
            if args.hierarchy:
                kwargs['hierarchy'] = ClassHierarchy.load(args.hierarchy)
            elif kwargs.get('tree_start_epoch') is None:
                raise UserError(
                    f'--criterion {spec} needs a tree: --hierarchy FILE (timm-vipriors hierarchy induce makes one), or '
                    f'--criterion-kwargs tree_start_epoch=M to grow one from the model'
                )
        elif args.hierarchy:
            raise UserError(f'--hierarchy is for a criterion with +tsl, got --criterion {spec}')
        # once with numbers in the model's place, so that a mistake costs no time
        make_criterion(spec, kwargs, num_classes=args.num_classes or 2, feature_dim=1)
    except (ValueError, OSError) as e:
        raise UserError(str(e)) from e
    return kwargs


def make_criterion(spec: str, kwargs: dict[str, Any], num_classes: int, feature_dim: int) -> nn.Module:
    """A criterion for a model: what it takes from there is added where the flags do not say it."""
    added = spec.split('+')[1:]
    from_model = {}
    if added:
        from_model['num_classes'] = num_classes
    if 'center' in added:
        from_model['feature_dim'] = feature_dim
    return create_loss(spec, **{**from_model, **kwargs})
