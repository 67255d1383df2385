"""Focal cosine loss.

Kim et al., "Data-Efficient Deep Learning Method for Image Classification Using Data Augmentation, Focal Cosine Loss,
and Ensemble", arXiv 2007.07805, Eq. 2.
"""

import math

import torch
from torch import nn

from . import base
from .base import Loss, Reduction


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

    In place of `num_classes` it takes a `head`, g_θ: a module that maps scale · z / ‖z‖ to the logits of p.
    """
    target = base.check_target(output, target)
    with base.no_autocast(output):
        direction = base.unit_rows(base.as_float32(output))
        labels = base.soft_labels(target, output.shape[1], direction.dtype)
        cosine = (direction * base.unit_rows(labels)).sum(dim=1)
        logits = scale * direction
        if head is not None:
            logits = head(logits.to(next(head.parameters()).dtype)).to(direction.dtype)
        focal = xent = base.cross_entropy(logits, labels)
        if gamma:
            # 1 − p_t of p_t = exp(−CE); the clamp keeps the power's gradient finite where p_t is 1
            focal = (-torch.expm1(-xent)).clamp_min(torch.finfo(xent.dtype).tiny) ** gamma * xent
        return base.reduce(1.0 - cosine + xent_weight * alpha * focal, reduction)


class FocalCosineLoss(Loss):
    """Focal cosine loss (Kim Eq. 2): `1 − cos(φ(y), z) + xent_weight · α (1 − p_t)^γ · CE`.

    How we read the paper:
        * It prints a minus before λ·FL, though FL is a loss already: here it is added, as in the authors' code. A
          negative `xent_weight` is what is printed.
        * p is softmax(scale · z / ‖z‖) and p_t = exp(−CE), as in the authors' code; for soft labels too. With many
          classes and scale 1, p_t stays tiny (at most about e / (e + C − 1): 0.003 for 1,000 classes), so the focal
          factor stays near 1 and the loss is close to `CosineLoss`. With a scale of 10 or more it has an effect.
        * With `num_classes` the paper's extra fully-connected layer g_θ, which the authors' code does not have, is
          learned on top of scale · z / ‖z‖. It starts as the identity, so that training starts as without it. Its
          parameters are this module's: give them to the optimizer.

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

    Examples:
        >>> output, target = torch.tensor([[3.0, 0.0]]), torch.tensor([0])
        >>> FocalCosineLoss()(output, target)  # the focal factor takes most of the cross-entropy
        tensor(0.0023)
        >>> FocalCosineLoss(gamma=0.0)(output, target)  # without it this is `CosineLoss`
        tensor(0.0313)
    """

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
        super().__init__(gamma=gamma, alpha=alpha, xent_weight=xent_weight, scale=scale, reduction=reduction)
        for name, least in (('gamma', 0.0), ('scale', 0.0), ('alpha', -math.inf), ('xent_weight', -math.inf)):
            base.check_number(name, getattr(self, name), least)
        self.head = None
        if num_classes is not None:
            self.head = nn.Linear(num_classes, num_classes, device=device, dtype=dtype)
            nn.init.eye_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        options = self.gamma, self.alpha, self.xent_weight, self.scale, self.head
        return self.reduced(focal_cosine_loss(output, target, *options, reduction='none'), target)
