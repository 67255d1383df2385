"""Positive class loss: cross-entropy plus the cosine between labels and prediction.

VIPF: Sun et al., "A visual inductive priors framework for data-efficient image classification", ECCV 2020 workshops,
Eq. 5; the cosine is Barz & Denzler's (WACV 2020).
"""

from typing import Literal

import torch
import torch.nn.functional as F

from . import base
from .base import Loss, Reduction

CosineOf = Literal['prob', 'logit']
Positive = Literal['ce', 'bce']


def positive_class_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    cosine: CosineOf = 'prob',
    positive: Positive = 'ce',
    smoothing: float = 0.0,
    reduction: Reduction = 'mean',
) -> torch.Tensor:
    """`−Σ l log p + 1 − cos(l, p)` (VIPF Eq. 5); see `PositiveClassLoss`."""
    base.check_choice('cosine', cosine, CosineOf)
    base.check_choice('positive', positive, Positive)
    target = base.check_target(output, target)
    with base.no_autocast(output):
        z = base.as_float32(output)
        labels = base.soft_labels(target, z.shape[1], z.dtype, smoothing)
        if positive == 'ce':
            xent = base.cross_entropy(z, labels)
        else:
            xent = -(labels * F.logsigmoid(base.bounded(z))).sum(dim=1)
        direction = base.unit_rows(base.bounded(z).softmax(dim=1) if cosine == 'prob' else z)
        return base.reduce(xent + 1.0 - (base.unit_rows(labels) * direction).sum(dim=1), reduction)


class PositiveClassLoss(Loss):
    """Positive class loss (VIPF Eq. 5): `−Σ l log p + 1 − cos(l, p)`.

    How we read the paper:
        * Eq. 4 prints cross-entropy with a negative half, (1 − l) log(1 − p), and the paper argues for this loss by
          leaving that half out. What is left, −Σ l log p, is the usual cross-entropy (`'ce'`).
        * Literally p is the softmax in both terms (`'prob'`). Barz & Denzler, whom the paper follows, take the cosine
          of the logits: `cosine='logit'`.
        * Another re-implementation takes the positive half of a binary cross-entropy: `positive='bce'` is −log σ(z_y).

    Args:
        cosine: Of what the cosine with the labels is taken, 'prob' or 'logit'.
        positive: The first term, 'ce' or 'bce'.
        smoothing: Label smoothing of class indices.
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); the loss is () or (B,).

    Examples:
        >>> PositiveClassLoss()(torch.zeros(1, 4), torch.tensor([2]))  # log 4 + 1 − 1/2
        tensor(1.8863)
    """

    def __init__(
        self,
        cosine: CosineOf = 'prob',
        positive: Positive = 'ce',
        smoothing: float = 0.0,
        reduction: Reduction = 'mean',
    ) -> None:
        super().__init__(cosine=cosine, positive=positive, smoothing=smoothing, reduction=reduction)
        base.check_choice('cosine', cosine, CosineOf)
        base.check_choice('positive', positive, Positive)
        base.check_number('smoothing', smoothing, 0.0, 1.0)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = positive_class_loss(output, target, self.cosine, self.positive, self.smoothing, 'none')
        return self.reduced(loss, target)
