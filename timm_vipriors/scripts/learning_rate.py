"""The learning rate of a run, by the rule of timm's train.py, and what the run says of it before it starts."""

import argparse


def effective_batch(args: argparse.Namespace, devices: int) -> int:
    """Images in an update, over all devices and accumulated batches."""
    return args.batch_size * devices * args.grad_accum_steps


def learning_rate(args: argparse.Namespace, devices: int) -> tuple[float, str]:
    """The learning rate, and how it was scaled from `lr_base`: 'linear', 'sqrt', or '' where `lr` was given.

    Where `lr_base_scale` is empty the kind of the optimizer decides.
    """
    if args.lr:
        return args.lr, ''
    scale = args.lr_base_scale or ('sqrt' if any(o in args.opt.lower() for o in ('ada', 'lamb')) else 'linear')
    ratio = effective_batch(args, devices) / args.lr_base_size
    return args.lr_base * (ratio**0.5 if scale == 'sqrt' else ratio), scale


def describe_update(args: argparse.Namespace, devices: int, resumed_rate: float | None = None) -> str:
    """The images of an update and its learning rate, in a line; the rate of a resumed optimizer wins over the flags."""
    factors = {'devices': devices, 'batches': args.grad_accum_steps}
    several = [f'{number} {what}' for what, number in factors.items() if number > 1]
    product = f' ({" × ".join([f"{args.batch_size:,}", *several])})' if several else ''
    rate, scale = learning_rate(args, devices)
    by = {'linear': 'linearly', 'sqrt': 'by the square root'}
    how = f', scaled {by[scale]} from {args.lr_base:g} for {args.lr_base_size:,}' if scale else ''
    if resumed_rate is not None and abs(resumed_rate - rate) > 1e-9 * max(rate, resumed_rate):
        rate, how = resumed_rate, f", the checkpoint's; --no-resume-opt takes that of the flags, {rate:g}"
    return f'each update: {effective_batch(args, devices):,} images{product}, learning rate {rate:g}{how}'
