"""Cosine loss.

Barz & Denzler, "Deep Learning on Small Datasets without Pre-Training using Cosine Loss", WACV 2020, as the authors'
code of Kim et al. (arXiv 2007.07805) reads it.
"""

import torch

from . import base
from .base import Loss, Reduction


def cosine_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    xent_weight: float = 0.1,
    reduction: Reduction = 'mean',
) -> torch.Tensor:
    """`1 − cos(φ(y), z) + xent_weight · CE(z / ‖z‖, y)`; see `CosineLoss`."""
    target = base.check_target(output, target)
    with base.no_autocast(output):
        direction = base.unit_rows(base.as_float32(output))
        labels = base.soft_labels(target, output.shape[1], direction.dtype)
        cosine = (direction * base.unit_rows(labels)).sum(dim=1)
        return base.reduce(1.0 - cosine + xent_weight * base.cross_entropy(direction, labels), reduction)


class CosineLoss(Loss):
    """Cosine loss with a share of cross-entropy: `1 − cos(φ(y), z) + xent_weight · CE(z / ‖z‖, y)`.

    φ(y) is the one-hot vector of the class, or the soft labels themselves. The cosine and the weight of 0.1 are Barz &
    Denzler's; CE of the bare normalised logits is the reading of Kim's authors' code.

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

    def __init__(self, xent_weight: float = 0.1, reduction: Reduction = 'mean') -> None:
        super().__init__(xent_weight=xent_weight, reduction=reduction)
        base.check_number('xent_weight', xent_weight)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.reduced(cosine_loss(output, target, self.xent_weight, 'none'), target)
