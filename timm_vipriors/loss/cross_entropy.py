"""torch's cross-entropy with the targets and the arithmetic of our losses."""

import torch
from torch import nn

from .base import as_float32, bounded, check_target, no_autocast


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """torch's cross-entropy for class indices (B,) of any integer type and soft labels (B, C), in float32.

    Examples:
        >>> CrossEntropyLoss()(torch.zeros(1, 4), torch.tensor([2], dtype=torch.uint8))  # log 4
        tensor(1.3863)
    """

    needs_features = False

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        target = check_target(output, target)
        with no_autocast(output):
            return super().forward(bounded(as_float32(output)), target if target.ndim == 1 else as_float32(target))
