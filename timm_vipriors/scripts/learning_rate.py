"""The learning rate of a run, by the rule of timm's train.py, and what the run says of it before it starts."""

import argparse


def effective_batch(args: argparse.Namespace, devices: int) -> int:
    """Images in an update, over all devices and accumulated batches."""
    return args.batch_size * devices * args.grad_accum_steps


def learning_rate(args: argparse.Namespace, devices: int) -> tuple[float, str]:
    """The learning rate, and how it was scaled: 'linear', 'sqrt', or '' where it was given.

    Without `lr` it is `lr_base`, for a batch of `lr_base_size`, scaled as `lr_base_scale` says, or by the kind of the
    optimizer where that is empty.
    """
    if args.lr:
        return args.lr, ''
    scale = args.lr_base_scale or ('sqrt' if any(o in args.opt.lower() for o in ('ada', 'lamb')) else 'linear')
    ratio = effective_batch(args, devices) / args.lr_base_size
    return args.lr_base * (ratio**0.5 if scale == 'sqrt' else ratio), scale


def describe_update(args: argparse.Namespace, devices: int, resumed_rate: float | None = None) -> str:
    """The images of an update and its learning rate, in a line.

    Args:
        args: The script's arguments.
        devices: The number of processes.
        resumed_rate: The rate in the checkpoint that the run resumes from: an optimizer's state wins over the flags.
    """
    factors = [f'{args.batch_size:,}']
    if devices > 1:
        factors.append(f'{devices} devices')
    if args.grad_accum_steps > 1:
        factors.append(f'{args.grad_accum_steps} batches')
    product = f' ({" × ".join(factors)})' if len(factors) > 1 else ''
    rate, scale = learning_rate(args, devices)
    how = {'': '', 'linear': ', scaled linearly', 'sqrt': ', scaled by the square root'}[scale]
    if scale:
        how += f' from {args.lr_base:g} for {args.lr_base_size:,}'
    if resumed_rate is not None and abs(resumed_rate - rate) > 1e-9 * max(rate, resumed_rate):
        rate, how = resumed_rate, f", the checkpoint's, and not the flags' {rate:g}: --no-resume-opt takes theirs"
    return f'an update learns from {effective_batch(args, devices):,} images{product} at a rate of {rate:g}{how}'
