"""The flags of LSB swap, and its place in a loader that timm made."""

import argparse
from typing import Any

from ..data import LSBSwap
from ..data.transforms import put_first
from ..errors import UserError

DEFAULT_PROB = 0.5


def add_augmentation_options(group: argparse._ActionsContainer) -> None:
    """Add our flags to a training script's."""
    group.add_argument(
        '--lsb-swap',
        type=int,
        default=0,
        metavar='K',
        help='take the K low bits of an image from another one, before all other augmentation; 0 for off (default)',
    )
    group.add_argument(
        '--lsb-prob',
        type=float,
        default=DEFAULT_PROB,
        metavar='P',
        help='probability that an image is swapped (default: %(default)s)',
    )


def make_lsb_swap(args: argparse.Namespace) -> LSBSwap | None:
    """The transform that the flags ask for, or None.

    Raises:
        UserError: If they ask for one that there is not.
    """
    if not args.lsb_swap:
        if args.lsb_prob != DEFAULT_PROB:
            raise UserError('--lsb-prob needs --lsb-swap K: how many bits to swap, 2 for example')
        return None
    if getattr(args, 'naflex_loader', False):
        raise UserError('--lsb-swap does not go together with --naflex-loader')
    try:
        return LSBSwap(args.lsb_swap, args.lsb_prob)
    except (ValueError, TypeError) as e:
        raise UserError(f'--lsb-swap {args.lsb_swap} --lsb-prob {args.lsb_prob}: {e}') from e


def swap_first(swap: LSBSwap, dataset: Any) -> None:
    """Put the swap before the transforms of a training data set that timm's `create_loader` has set up."""
    # that of an AugMixDataset is the first of its three; scheduled image sizes have one each
    for transform in [dataset.transform] if hasattr(dataset, 'transform') else dataset.transforms:
        put_first(swap, transform)
