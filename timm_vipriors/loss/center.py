"""Center loss: features are drawn to a center of their class, which follows them.

VIPF Eq. 6, after Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, Eqs. 2
to 4.
"""

import torch
import torch.distributed as dist

from . import base
from .base import Loss, Reduction


def center_loss(
    features: torch.Tensor,
    target: torch.Tensor,
    centers: torch.Tensor,
    reduction: Reduction = 'sum',
) -> torch.Tensor:
    """`½ Σ_i ‖x_i − c_{y_i}‖²`, or `½ Σ_i Σ_j l_ij ‖x_i − c_j‖²` for soft labels l (VIPF Eq. 6).

    No (B, C, D) tensor is made: for labels that sum to one, the weighted sum over the classes is the squared distance
    to the weighted mean of the centers plus their spread around it, and the spread has no gradient.

    Args:
        features: x (B, D).
        target: Class indices (B,) or soft labels (B, C).
        centers: c (C, D).
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample (B,).
    """
    if target.ndim == 1:
        own = centers[base.class_indices(target)]
        return base.reduce(0.5 * (features - own).square().sum(dim=1), reduction)
    labels = target.to(features.dtype)
    mean = labels @ centers
    spread = (labels @ centers.square().sum(dim=1) - mean.square().sum(dim=1)).clamp_min(0.0)
    return base.reduce(0.5 * ((features - mean).square().sum(dim=1) + spread), reduction)


class CenterLoss(Loss):
    """Center loss (VIPF Eq. 6): `½ Σ ‖x_i − c_{y_i}‖²`, with centers that follow the features.

    The centers are a buffer (C, D) that starts at zero. In training, after the loss is taken, they move by Wen's rule
    `c_j −= α Σ_{y_i=j} (c_j − x_i) / (1 + n_j)`, without gradient; not in eval mode, nor under `torch.no_grad()`. Soft
    labels weight both the loss and the rule.

    How we read the paper: it says that the centers are the averages of the features of their class "in each iteration".
    Taken literally, the only sample of a class in a batch would be its own center, with a loss of exactly zero: in
    small batches of many classes the loss would vanish. Wen's running rule, which the paper cites, does not have this
    problem. Features are not normalised; `normalize=True` normalises them but not the centers, as GEM's default does.

    In a distributed run the rule sees the features of all ranks, so the centers stay equal everywhere. With gradient
    accumulation they move with every part of an update's batch, as BatchNorm's statistics do.

    The gradient of a sum depends on how the batch of an update is split: DDP and gradient accumulation average the
    gradients of its parts, so that 4 parts of 8 samples give a quarter of the gradient of 32. With `batch_size`, the
    samples of an update over all parts and ranks, the loss is that many times the mean, and the split has no effect.

    Args:
        num_classes: C.
        feature_dim: D, the width of the features (a timm model's `head_hidden_size`).
        alpha: Rate α of the centers.
        normalize: Whether features are divided by their L2 norm first.
        reduction: 'sum' over the batch as in the paper, 'mean', or 'none' for a loss per sample.
        batch_size: Samples of an update, for the sum. None is the number of samples in each call.
        device: Where the centers are made.
        dtype: Type of the centers.

    Shape:
        output: logits (B, C), only checked, or None; target: class indices (B,) or soft labels (B, C);
        features: (B, D); the loss is () or (B,).

    Examples:
        >>> loss = CenterLoss(num_classes=3, feature_dim=2)
        >>> loss(None, torch.tensor([1]), torch.tensor([[3.0, 4.0]]))  # ½ (3² + 4²): the centers start at zero
        tensor(12.5000)
        >>> loss.centers[1]  # a quarter of the way: α = ½, and n = 1
        tensor([0.7500, 1.0000])
    """

    needs_features = True

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        alpha: float = 0.5,
        normalize: bool = False,
        reduction: Reduction = 'sum',
        batch_size: int | None = None,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            feature_dim=feature_dim,
            alpha=alpha,
            normalize=normalize,
            reduction=reduction,
            batch_size=batch_size,
        )
        base.check_number('alpha', alpha, 0.0, 1.0)
        if batch_size is not None and (batch_size < 1 or reduction != 'sum'):
            raise ValueError(
                f"batch_size must be at least 1 and is for reduction='sum', got {batch_size}, {reduction!r}"
            )
        self.centers: torch.Tensor
        self.register_buffer('centers', torch.zeros(num_classes, feature_dim, device=device, dtype=dtype))

    def forward(self, output: torch.Tensor | None, target: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        classes, dim = self.centers.shape
        if features.ndim != 2 or features.shape[1] != dim:
            raise ValueError(f'features must be of shape (B, {dim}), got {tuple(features.shape)}')
        if output is not None and output.shape != (len(features), classes):
            raise ValueError(f'output must be logits of shape ({len(features)}, {classes}), got {tuple(output.shape)}')
        target = base.check_target(features.new_empty(len(features), classes), target)
        with base.no_autocast(features):
            x = base.as_float32(features)
            x = base.unit_rows(x) if self.normalize else x
            loss = self.reduced(center_loss(x, target, self.centers.to(x.dtype), 'none'), target)
            if self.training and torch.is_grad_enabled():
                self.update(x.detach(), target)
        return loss if self.batch_size is None else loss * (self.batch_size / len(features))

    @torch.no_grad()
    def update(self, features: torch.Tensor, target: torch.Tensor) -> None:
        """Move the centers towards features (B, D) by Wen's rule, over all ranks of a distributed run.

        A center does not move if a feature of its class is not finite, so that later batches have a finite loss.
        """
        if target.ndim == 2:
            labels = target.to(features.dtype)
            counts, sums = labels.sum(dim=0), labels.T @ features
        else:
            counts = features.new_zeros(len(self.centers)).index_add_(0, target, features.new_ones(len(target)))
            sums = features.new_zeros(self.centers.shape).index_add_(0, target, features)
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(counts)
            dist.all_reduce(sums)
        counts = counts.unsqueeze(1)
        step = (counts * self.centers - sums) / (1.0 + counts)
        self.centers.sub_(self.alpha * step.nan_to_num(0.0, 0.0, 0.0).to(self.centers.dtype))
