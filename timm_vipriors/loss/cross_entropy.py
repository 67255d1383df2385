"""torch's cross-entropy with the targets and the arithmetic of our losses."""

import torch
import torch.nn.functional as F
from torch import nn

from . import base
from .base import Loss, Reduction


class CrossEntropyLoss(Loss, nn.CrossEntropyLoss):
    """torch's cross-entropy for class indices (B,) of any integer type and soft labels (B, C), in float32.

    Args:
        label_smoothing: How much of each label is spread evenly over the classes.
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample.

    Examples:
        >>> CrossEntropyLoss()(torch.zeros(1, 4), torch.tensor([2], dtype=torch.uint8))  # log 4
        tensor(1.3863)
    """

    def __init__(self, label_smoothing: float = 0.0, reduction: Reduction = 'mean') -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        base.check_number('label_smoothing', label_smoothing, 0.0, 1.0)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        target = base.check_target(output, target)
        with base.no_autocast(output):
            z = base.bounded(base.as_float32(output))
            labels = target if target.ndim == 1 else target.to(z.dtype)
            if self.class_weights is None:  # then torch's own mean, to the last digit
                return F.cross_entropy(z, labels, reduction=self.reduction, label_smoothing=self.label_smoothing)
            loss = F.cross_entropy(z, labels, reduction='none', label_smoothing=self.label_smoothing)
            return self.reduced(loss, target)
