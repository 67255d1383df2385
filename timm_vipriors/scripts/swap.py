"""LSB swap in a run: made from the flags, and put first among the transforms of the training images."""

import argparse
import logging
from typing import Any

from ..data import LSBSwap, StrictImageDataset
from ..data.transforms import put_first
from ..errors import UserError
from .options import DEFAULT_PROB
from .ranks import is_primary

_logger = logging.getLogger('train')


def make_swap(args: argparse.Namespace) -> LSBSwap | None:
    """The transform of --lsb-swap and --lsb-prob, or None."""
    if not args.lsb_swap:
        if args.lsb_prob != DEFAULT_PROB:
            raise UserError('--lsb-prob needs --lsb-swap K: how many bits to swap, 2 for example')
        return None
    if args.naflex_loader:
        raise UserError('--lsb-swap does not work with --naflex-loader')
    try:
        return LSBSwap(args.lsb_swap, args.lsb_prob)
    except (ValueError, TypeError) as e:
        raise UserError(f'--lsb-swap {args.lsb_swap} --lsb-prob {args.lsb_prob}: {e}') from e


def swap_first(swap: LSBSwap, dataset: Any) -> None:
    """Put LSB swap before the transforms of a training data set that timm's `create_loader` has set up.

    Its donors are any images of a cached data set; without a cache the batch's own, where reading one more is slow.
    """
    images = dataset
    while hasattr(images, 'dataset'):
        images = images.dataset
    if isinstance(images, StrictImageDataset):
        swap.donors = images.bare()
        if getattr(images, 'pixels', None) is not None:
            swap.pool_size = 0
    # that of an AugMixDataset is the first of its three; scheduled image sizes have one each
    for transform in [dataset.transform] if hasattr(dataset, 'transform') else dataset.transforms:
        put_first(swap, transform)
    if is_primary():
        _logger.info(f'LSB swap: {swap.k} low bits from another image, with probability {swap.p:g}')
