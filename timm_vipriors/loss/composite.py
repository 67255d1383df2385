"""The composite objective (VIPF Eq. 3): a weighted sum of a loss, the center loss and tree supervision."""

import torch
from torch import nn

from ..hierarchy import ClassHierarchy
from .base import check_number
from .center import CenterLoss
from .positive_class import PositiveClassLoss
from .tree_supervision import TreeSupervisionLoss


class CompositeLoss(nn.Module):
    """A weighted sum of a loss, the center loss and tree supervision. A term that is None is left out.

    Args:
        base: Called `base(output, target)`.
        center: The center loss.
        tree: The tree supervision loss.
        base_weight: Weight of the first.
        center_weight: Weight of the second.
        tree_weight: Weight of the third.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); features (B, D), needed with a center
        loss only; the loss is ().

    Examples:
        >>> loss = CompositeLoss(PositiveClassLoss(), CenterLoss(4, 8), center_weight=0.01)
        >>> loss(torch.zeros(2, 4), torch.tensor([0, 3]), torch.ones(2, 8))  # 1.8863 + 0.01 · ½ · 2 · 8
        tensor(1.9663)
    """

    needs_features = True  # false for an instance without center loss

    def __init__(
        self,
        base: nn.Module | None,
        center: CenterLoss | None = None,
        tree: TreeSupervisionLoss | None = None,
        base_weight: float = 1.0,
        center_weight: float = 0.0005,
        tree_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.base, self.center, self.tree = base, center, tree
        self.weights = {'base': base_weight, 'center': center_weight, 'tree': tree_weight}
        for name, weight in self.weights.items():
            check_number(f'{name}_weight', weight)
        self.needs_features = center is not None

    def extra_repr(self) -> str:
        return ', '.join(f'{name}_weight={weight}' for name, weight in self.weights.items())

    def attach(self, classifier: nn.Module) -> None:
        """Give the model's classifier to a tree that is induced online."""
        if self.tree is not None:
            self.tree.attach(classifier)

    def terms(
        self, output: torch.Tensor, target: torch.Tensor, features: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The terms without their weights, by name: 'base', 'center', 'tree'."""
        terms = {}
        if self.base is not None:
            terms['base'] = self.base(output, target)
        if self.center is not None:
            if features is None:
                raise ValueError('the center loss needs features: call loss(output, target, features)')
            terms['center'] = self.center(output, target, features)
        if self.tree is not None:
            terms['tree'] = self.tree(output, target)
        return terms

    def forward(self, output: torch.Tensor, target: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        terms = self.terms(output, target, features)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()


class VIPriorsLoss(CompositeLoss):
    """The composite objective of VIPF Eq. 3: positive class loss, center loss and tree supervision.

    How we read the paper: it gives "α, γ and β are set to 1, 0.0005 and 1". The 0.0005 suits the center loss, whose
    size is that of squared distances, so the weights are 1 (positive class), 0.0005 (center), 1 (tree).

    Args:
        num_classes: C.
        feature_dim: D, the width of the features. None leaves the center loss out, as a weight of 0 does.
        hierarchy: The tree. None leaves tree supervision out, as a weight of 0 does.
        pcl_weight: Weight of the positive class loss; 0 leaves it out.
        center_weight: Weight of the center loss.
        tree_weight: Weight of tree supervision.
        center_batch_size: Samples of an update over all its parts and ranks; see `CenterLoss`.
        device: Where the centers are made.
        dtype: Type of the centers.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); features (B, D), needed with a center
        loss only; the loss is ().

    Examples:
        >>> loss = VIPriorsLoss(num_classes=4, feature_dim=8)
        >>> loss(torch.zeros(2, 4), torch.tensor([0, 3]), torch.zeros(2, 8))
        tensor(1.8863)
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int | None = None,
        hierarchy: ClassHierarchy | None = None,
        pcl_weight: float = 1.0,
        center_weight: float = 0.0005,
        tree_weight: float = 1.0,
        center_batch_size: int | None = None,
        device=None,
        dtype=None,
    ) -> None:
        center = tree = None
        if feature_dim is not None and center_weight:
            center = CenterLoss(num_classes, feature_dim, batch_size=center_batch_size, device=device, dtype=dtype)
        if hierarchy is not None and tree_weight:
            tree = TreeSupervisionLoss(hierarchy, num_classes=num_classes)
        base = PositiveClassLoss() if pcl_weight else None
        super().__init__(base, center, tree, pcl_weight, center_weight, tree_weight)
