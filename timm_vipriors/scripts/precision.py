"""The flag that takes mixed precision back, and what to know of it on the CPU."""

import argparse


def add_precision_options(group: argparse._ActionsContainer) -> None:
    """Add our flag to a training script's."""
    group.add_argument(
        '--no-amp',
        dest='amp',
        action='store_false',
        default=argparse.SUPPRESS,  # --amp has one
        help='no automatic mixed precision: takes back an --amp before it, such as that of a recipe',
    )


def precision_warning(args: argparse.Namespace) -> str | None:
    """What is wrong with the precision that the arguments ask for, or None."""
    if args.device.startswith('cpu') and args.amp and args.amp_dtype == 'float16':
        return (
            '--amp computes in float16, which is slow on the CPU and has no loss scaling there: add --no-amp, or '
            '--amp-dtype bfloat16'
        )
    return None
