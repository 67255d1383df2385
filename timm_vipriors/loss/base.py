"""What all losses share: options, a checked target, float32 arithmetic, soft labels, directions, reduction."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

Reduction = Literal['mean', 'sum', 'none']

SOFT_LABEL_TOLERANCE = 1e-2  # how far a row of soft labels may be from summing to one; mixup in bfloat16 needs it


class Loss(nn.Module):
    """A loss called `loss(output, target)` with logits (B, C) and class indices (B,) or soft labels (B, C).

    Its options are attributes and stand in its repr.

    Args:
        **options: The options by their names, `reduction` among them.

    Attributes:
        needs_features: Whether the loss is called `loss(output, target, features)` with features (B, D).
        class_weights: Weights of the classes (C,), or None; see `weight_classes`.

    Examples:
        >>> class SquaredError(Loss):
        ...     def forward(self, output, target):
        ...         labels = soft_labels(check_target(output, target), output.shape[1], output.dtype)
        ...         return self.reduced((output - labels).square().sum(dim=1), target)
        >>> loss = SquaredError(reduction='mean')
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor(1.)
        >>> loss.weight_classes([0.5, 1.0, 2.0])
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 2]))  # (0.5 + 2) / 2
        tensor(1.2500)
    """

    needs_features = False

    def __init__(self, **options: Any) -> None:
        super().__init__()
        check_choice('reduction', options['reduction'], Reduction)
        self._options = tuple(options)
        self.class_weights: torch.Tensor | None
        self.register_buffer('class_weights', None, persistent=False)
        for name, value in options.items():
            setattr(self, name, value)

    def extra_repr(self) -> str:
        return ', '.join(f'{name}={getattr(self, name)!r}' for name in self._options)

    def weight_classes(self, weights: torch.Tensor | Sequence[float]) -> None:
        """Weight the loss ℓ of a sample by its class: `w_y ℓ`, or `Σ_c l_c w_c ℓ` for soft labels l.

        A mean is still over the number of samples. torch's cross-entropy divides by the sum of their weights, so that
        weights have no effect in a batch of one class.

        Args:
            weights: w (C,), such as `balanced_weights` gives.
        """
        self.class_weights = torch.as_tensor(weights, dtype=torch.float32)

    def reduced(self, loss: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Weight a loss per sample (B,) by the classes, and reduce it."""
        if self.class_weights is not None:
            own = self.class_weights.to(loss.dtype)
            loss = loss * (own[class_indices(target)] if target.ndim == 1 else target.to(loss.dtype) @ own)
        return reduce(loss, self.reduction)


def balanced_weights(counts: Sequence[int]) -> torch.Tensor:
    """Weights n / (C n_c) (C,): all classes have the same total weight, and the average sample has weight one.

    These are scikit-learn's 'balanced' class weights, and up to a factor timm's 'inv_freq'
    (`timm.loss.compute_class_weights`, since 1.0.31), whose average over the classes is one.

    Args:
        counts: Samples n_c of each class; a class without samples is treated as if it had one.

    Examples:
        >>> balanced_weights([30, 10])
        tensor([0.6667, 2.0000])
    """
    n = torch.as_tensor(counts, dtype=torch.float64)
    return (n.sum() / (len(n) * n.clamp_min(1))).float()


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise a ValueError unless `value` is one of the strings of a `Literal`."""
    if value not in get_args(choices):
        raise ValueError(f'{name} must be one of {", ".join(map(repr, get_args(choices)))}, got {value!r}')


def check_number(name: str, value: float, least: float = -math.inf, most: float = math.inf) -> None:
    """Raise a ValueError unless `value` is a number in a range, and finite in float32."""
    if not isinstance(value, Real) or not abs(value) <= torch.finfo(torch.float32).max:
        raise ValueError(f'{name} must be a finite number, got {value!r}')
    if not least <= value <= most:
        expected = f'at least {least}' if most == math.inf else f'in {least:g} … {most:g}'
        raise ValueError(f'{name} must be {expected}, got {value!r}')


def check_target(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Check a batch of logits and its target. Under torch.compile the values of the target are not checked.

    Args:
        output: Logits (B, C).
        target: Class indices (B,) of any integer type, or soft labels (B, C), rows summing to one within 0.01.

    Returns:
        The target, class indices as int64.

    Raises:
        ValueError: If a shape, type or value is not as above, or the batch is empty.
    """
    if output.ndim != 2 or not len(output):
        raise ValueError(f'output must be logits of shape (B, C) with at least one sample, got {tuple(output.shape)}')
    batch_size, num_classes = output.shape
    if target.shape not in ((batch_size,), (batch_size, num_classes)):
        raise ValueError(
            f'target must be class indices of shape ({batch_size},) or soft labels of shape '
            f'({batch_size}, {num_classes}), got {tuple(target.shape)}'
        )
    if target.ndim == 1:
        target = class_indices(target)
    if torch.compiler.is_compiling():
        return target
    if target.ndim == 1:
        low, high = target.aminmax()
        if low < 0 or high >= num_classes:
            bad = int(low) if low < 0 else int(high)
            raise ValueError(f'target class must be in 0 … {num_classes - 1} for {num_classes} logits, got {bad}')
    else:
        worst = (target.float().sum(dim=1) - 1).abs().max()
        if not worst <= SOFT_LABEL_TOLERANCE:  # not <=: NaN is wrong too
            raise ValueError(f'soft labels must sum to one within {SOFT_LABEL_TOLERANCE}, got a row off by {worst:.3g}')
    return target


def class_indices(target: torch.Tensor) -> torch.Tensor:
    """Class indices (B,) of any integer type as int64, since torch indexes by uint8 as by a mask."""
    if target.is_floating_point() or target.dtype == torch.bool:
        shape = tuple(target.shape)
        raise ValueError(f'target of shape {shape} must be integer class indices, got {target.dtype}')
    return target.long()


def soft_labels(target: torch.Tensor, num_classes: int, dtype: torch.dtype, smoothing: float = 0.0) -> torch.Tensor:
    """Soft labels (B, C): one-hot rows of class indices, smoothed towards uniform; soft labels stay as they are."""
    if target.ndim == 2:
        return target.to(dtype)
    off = smoothing / num_classes
    labels = torch.full((target.shape[0], num_classes), off, dtype=dtype, device=target.device)
    return labels.scatter_(1, class_indices(target).unsqueeze(1), 1.0 - smoothing + off)


def no_autocast(x: torch.Tensor) -> torch.autocast:
    """A context without autocast on the tensor's device."""
    return torch.autocast(x.device.type, enabled=False)


def as_float32(x: torch.Tensor) -> torch.Tensor:
    """At least float32: half types become float32, float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows of (B, C) divided by their L2 norm, for values of any size; a row of zeros (below 5e-39) stays as it is.

    A row is first divided by its largest magnitude, so that its norm neither overflows nor vanishes; that factor
    cancels, in the gradient too.
    """
    peak = x.detach().abs().amax(dim=1, keepdim=True)
    x = x / torch.where(peak > 5e-39, peak, torch.ones_like(peak))
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1.0)


def bounded(logits: torch.Tensor) -> torch.Tensor:
    """Logits within ±1e30, so that nothing computed from them overflows; infinity becomes NaN, as in a softmax."""
    return logits.clamp(-1e30, 1e30) + (logits - logits)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """`−Σ l log softmax(z)` of each sample (B,), of logits z (B, C) and soft labels l (B, C)."""
    return -(labels * F.log_softmax(bounded(logits), dim=1)).sum(dim=1)


def reduce(loss: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """Reduce a loss per sample (B,)."""
    check_choice('reduction', reduction, Reduction)
    if reduction == 'none':
        return loss
    return loss.mean() if reduction == 'mean' else loss.sum()
