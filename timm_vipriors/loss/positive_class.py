"""Positive class loss: cross-entropy plus the cosine between labels and prediction.

VIPF: Sun et al., "A visual inductive priors framework for data-efficient image classification", ECCV 2020 workshops,
Eq. 5; the cosine is Barz & Denzler's (WACV 2020).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from .common import Reduction, as_float32, check_choice, check_target, reduce, soft_labels, unit_rows

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
    """`−Σ l log p + 1 − cos(l, p)` (VIPF Eq. 5); see `PositiveClassLoss`.

    Args:
        output: Logits z (B, C).
        target: Class indices (B,) or soft labels (B, C).
        cosine: Of what the cosine with the labels is taken: 'prob' (p, by the letter) or 'logit' (z).
        positive: The first term: 'ce' (−Σ l log p, p of the softmax) or 'bce' (−Σ l log σ(z)).
        smoothing: Label smoothing of class indices.
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample (B,).

    Returns:
        The loss, in float32 (float64 for float64 logits).

    Raises:
        ValueError: If a shape or value is not as above, or the batch is empty.
    """
    check_choice('cosine', cosine, CosineOf)
    check_choice('positive', positive, Positive)
    check_choice('reduction', reduction, Reduction)
    check_target(output, target)
    with torch.autocast(output.device.type, enabled=False):
        z = as_float32(output)
        labels = soft_labels(target, z.shape[1], z.dtype, smoothing)
        log_p = F.log_softmax(z, dim=1)
        log_positive = log_p if positive == 'ce' else F.logsigmoid(z)
        xent = -(labels * log_positive).sum(dim=1)
        direction = unit_rows(log_p.exp() if cosine == 'prob' else z)
        return reduce(xent + 1.0 - (unit_rows(labels) * direction).sum(dim=1), reduction)


class PositiveClassLoss(nn.Module):
    """Positive class loss (VIPF Eq. 5): `−Σ l log p + 1 − cos(l, p)`.

    How we read the paper:
        * By the letter p is the softmax in both terms, so the first one is plain cross-entropy (`'prob'`, `'ce'`).
        * Barz & Denzler, whom the paper follows, take the cosine of the logits: `cosine='logit'`.
        * Another re-implementation took the name to mean that only the positive half of a binary cross-entropy is
          meant: `positive='bce'` is −log σ(z_y).

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

    needs_features = False

    def __init__(
        self,
        cosine: CosineOf = 'prob',
        positive: Positive = 'ce',
        smoothing: float = 0.0,
        reduction: Reduction = 'mean',
    ) -> None:
        super().__init__()
        check_choice('cosine', cosine, CosineOf)
        check_choice('positive', positive, Positive)
        check_choice('reduction', reduction, Reduction)
        if not 0.0 <= smoothing < 1.0:
            raise ValueError(f'smoothing must be at least 0 and less than 1, got {smoothing}')
        self.cosine: CosineOf = cosine
        self.positive: Positive = positive
        self.smoothing = smoothing
        self.reduction: Reduction = reduction

    def extra_repr(self) -> str:
        return (
            f'cosine={self.cosine!r}, positive={self.positive!r}, smoothing={self.smoothing}, '
            f'reduction={self.reduction!r}'
        )

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return positive_class_loss(output, target, self.cosine, self.positive, self.smoothing, self.reduction)
