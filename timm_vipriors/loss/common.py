"""What all losses share: checked arguments, soft labels, float32 arithmetic, safe directions, reduction."""

from typing import Literal, get_args

import torch

Reduction = Literal['mean', 'sum', 'none']

SOFT_LABEL_TOLERANCE = 1e-2  # how far a row of soft labels may be from summing to one; mixup in bfloat16 needs it


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise a ValueError unless `value` is one of the strings of a `Literal`."""
    if value not in get_args(choices):
        raise ValueError(f'{name} must be one of {", ".join(map(repr, get_args(choices)))}, got {value!r}')


def check_target(output: torch.Tensor, target: torch.Tensor) -> None:
    """Check a batch of logits and its target. The values of the target are not looked at under torch.compile.

    Args:
        output: Logits (B, C).
        target: Class indices (B,) or soft labels (B, C), rows summing to one within 0.01.

    Raises:
        ValueError: If a shape, type or value is not as above, or the batch is empty.
    """
    if output.ndim != 2:
        raise ValueError(f'output must be logits of shape (B, C), got {tuple(output.shape)}')
    batch_size, num_classes = output.shape
    if batch_size == 0:
        raise ValueError('output is an empty batch: a loss needs at least one sample')
    if target.shape not in ((batch_size,), (batch_size, num_classes)):
        raise ValueError(
            f'target must be class indices of shape ({batch_size},) or soft labels of shape '
            f'({batch_size}, {num_classes}), got {tuple(target.shape)}'
        )
    soft = target.ndim == 2
    if soft != target.is_floating_point():
        kind = 'floating-point soft labels' if soft else 'integer class indices'
        raise ValueError(f'target of shape {tuple(target.shape)} must be {kind}, got {target.dtype}')
    if torch.compiler.is_compiling():
        return
    if not soft:
        low, high = target.aminmax()
        if low < 0 or high >= num_classes:
            bad = int(low) if low < 0 else int(high)
            raise ValueError(f'target class must be in 0 … {num_classes - 1} for {num_classes} logits, got {bad}')
    else:
        worst = (target.float().sum(dim=1) - 1).abs().max()
        if not worst <= SOFT_LABEL_TOLERANCE:  # not <=: NaN is wrong too
            raise ValueError(f'soft labels must sum to one within {SOFT_LABEL_TOLERANCE}, got a row off by {worst:.3g}')


def as_float32(x: torch.Tensor) -> torch.Tensor:
    """At least float32: half types are raised, float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def soft_labels(target: torch.Tensor, num_classes: int, dtype: torch.dtype, smoothing: float = 0.0) -> torch.Tensor:
    """Soft labels (B, C): one-hot rows of class indices, smoothed towards uniform; soft labels stay as they are."""
    if target.ndim == 2:
        return target.to(dtype)
    off = smoothing / num_classes
    labels = torch.full((target.shape[0], num_classes), off, dtype=dtype, device=target.device)
    return labels.scatter_(1, target.long().unsqueeze(1), 1.0 - smoothing + off)


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows of (B, C) divided by their L2 norm, for values of any size; a row of zeros stays one.

    A row is first divided by its largest magnitude, so its norm lies between 1 and √C and neither overflows nor
    vanishes; that factor cancels, gradient included.
    """
    peak = x.detach().abs().amax(dim=1, keepdim=True)
    x = x / torch.where(peak > 0, peak, torch.ones_like(peak))
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1.0)


def reduce(loss: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """Reduce a loss per sample (B,)."""
    if reduction == 'mean':
        return loss.mean()
    if reduction == 'sum':
        return loss.sum()
    return loss
