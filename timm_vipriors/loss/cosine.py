"""Cosine loss and focal cosine loss.

Barz & Denzler, "Deep Learning on Small Datasets without Pre-Training using Cosine Loss", WACV 2020 (the cosine loss);
Kim et al., "Data-Efficient Deep Learning Method for Image Classification Using Data Augmentation, Focal Cosine Loss,
and Ensemble", arXiv 2007.07805, Eq. 2 (the focal cosine loss).
"""

import torch
import torch.nn.functional as F
from torch import nn

from .common import Reduction, as_float32, check_choice, check_target, reduce, soft_labels, unit_rows


def cosine_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    xent_weight: float = 0.1,
    reduction: Reduction = 'mean',
) -> torch.Tensor:
    """`1 − cos(φ(y), z) + xent_weight · CE(z / ‖z‖, y)`; see `CosineLoss`."""
    return focal_cosine_loss(output, target, gamma=0.0, alpha=1.0, xent_weight=xent_weight, reduction=reduction)


def focal_cosine_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    gamma: float = 2.0,
    alpha: float = 1.0,
    xent_weight: float = 0.1,
    scale: float = 1.0,
    head: nn.Module | None = None,
    reduction: Reduction = 'mean',
) -> torch.Tensor:
    """`1 − cos(φ(y), z) + xent_weight · α (1 − p_t)^γ · CE` (Kim Eq. 2); see `FocalCosineLoss`.

    Args:
        output: Logits z (B, C).
        target: Class indices (B,) or soft labels (B, C).
        gamma: Exponent of the focal factor.
        alpha: Weight of the focal loss.
        xent_weight: The λ that weighs the focal loss against the cosine.
        scale: Factor on z / ‖z‖ before the softmax.
        head: Maps scale · z / ‖z‖ (B, C) to the logits of p (B, C). None is the identity.
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample (B,).

    Returns:
        The loss, in float32 (float64 for float64 logits).

    Raises:
        ValueError: If a shape or value is not as above, or the batch is empty.
    """
    check_choice('reduction', reduction, Reduction)
    check_target(output, target)
    with torch.autocast(output.device.type, enabled=False):
        direction = unit_rows(as_float32(output))
        labels = soft_labels(target, output.shape[1], direction.dtype)
        cosine = (direction * unit_rows(labels)).sum(dim=1)
        logits = scale * direction
        if head is not None:
            logits = head(logits.to(next(head.parameters()).dtype)).to(direction.dtype)
        xent = -(labels * F.log_softmax(logits, dim=1)).sum(dim=1)
        if gamma:
            # 1 − p_t of p_t = exp(−CE); the clamp keeps the power's gradient finite where p_t is 1
            xent = (-torch.expm1(-xent)).clamp_min(torch.finfo(xent.dtype).tiny) ** gamma * xent
        return reduce(1.0 - cosine + xent_weight * alpha * xent, reduction)


class CosineLoss(nn.Module):
    """Cosine loss with a share of cross-entropy: `1 − cos(φ(y), z) + xent_weight · CE(z / ‖z‖, y)`.

    φ(y) is the one-hot vector of the class, or the soft labels themselves. The cross-entropy is taken of the
    normalised logits, as Barz & Denzler (§3.3) do. Both papers use this loss with a weight of 0.1.

    Args:
        xent_weight: Weight of the cross-entropy; 0 leaves the cosine alone.
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); the loss is () or (B,).

    Examples:
        >>> loss = CosineLoss()
        >>> loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0]))  # the right direction: only the entropy is left
        tensor(0.0313)
    """

    needs_features = False

    def __init__(self, xent_weight: float = 0.1, reduction: Reduction = 'mean') -> None:
        super().__init__()
        check_choice('reduction', reduction, Reduction)
        self.xent_weight = xent_weight
        self.reduction = reduction

    def extra_repr(self) -> str:
        return f'xent_weight={self.xent_weight}, reduction={self.reduction!r}'

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return cosine_loss(output, target, self.xent_weight, self.reduction)


class FocalCosineLoss(nn.Module):
    """Focal cosine loss (Kim Eq. 2): `1 − cos(φ(y), z) + xent_weight · α (1 − p_t)^γ · CE`.

    How we read the paper:
        * It prints a minus before λ·FL, though FL is a loss already: here it is added, as in the authors' code.
        * p is softmax(scale · z / ‖z‖) and p_t = exp(−CE), as in the authors' code; for soft labels too. With many
          classes and scale 1, p_t stays tiny (about e / (e + C − 1) at best: 0.003 for 1,000 classes), so the focal
          factor stays near 1 and the loss is close to `CosineLoss`. A scale of 10 or more lets the factor work.
        * With `num_classes` the paper's extra fully-connected layer g_θ is learned on top of scale · z / ‖z‖. It
          starts as the identity, so that training starts as without it. Its parameters are this module's: give
          them to the optimizer.

    Args:
        gamma: Exponent of the focal factor; 0 makes it 1.
        alpha: Weight of the focal loss.
        xent_weight: The paper's λ.
        scale: Factor on the normalised logits before the softmax.
        num_classes: C, to learn g_θ; None for no such layer.
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample.
        device: Where g_θ is made.
        dtype: Type of g_θ.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); the loss is () or (B,).
    """

    needs_features = False

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 1.0,
        xent_weight: float = 0.1,
        scale: float = 1.0,
        num_classes: int | None = None,
        reduction: Reduction = 'mean',
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        check_choice('reduction', reduction, Reduction)
        for name, value, least in (('gamma', gamma, 0.0), ('scale', scale, 0.0)):
            if not value >= least:
                raise ValueError(f'{name} must be at least {least}, got {value}')
        self.gamma = gamma
        self.alpha = alpha
        self.xent_weight = xent_weight
        self.scale = scale
        self.reduction = reduction
        self.head = None
        if num_classes is not None:
            self.head = nn.Linear(num_classes, num_classes, device=device, dtype=dtype)
            nn.init.eye_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def extra_repr(self) -> str:
        return (
            f'gamma={self.gamma}, alpha={self.alpha}, xent_weight={self.xent_weight}, scale={self.scale}, '
            f'reduction={self.reduction!r}'
        )

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.head is not None and output.ndim == 2 and output.shape[1] != self.head.in_features:
            raise ValueError(f'the loss was made for {self.head.in_features} classes, got {output.shape[1]} logits')
        return focal_cosine_loss(
            output, target, self.gamma, self.alpha, self.xent_weight, self.scale, self.head, self.reduction
        )
