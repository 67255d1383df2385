"""Loss functions: plain modules called `loss(output, target)`, for anyone's training loop."""

from .center import CenterLoss, center_loss
from .composite import CRITERIA, CompositeLoss, VIPriorsLoss, create_loss
from .cosine import CosineLoss, FocalCosineLoss, cosine_loss, focal_cosine_loss
from .positive_class import PositiveClassLoss, positive_class_loss
from .tree_supervision import TreeLayout, TreeSupervisionLoss, tree_supervision_loss

__all__ = [
    'CRITERIA',
    'CenterLoss',
    'CompositeLoss',
    'CosineLoss',
    'FocalCosineLoss',
    'PositiveClassLoss',
    'TreeLayout',
    'TreeSupervisionLoss',
    'VIPriorsLoss',
    'center_loss',
    'cosine_loss',
    'create_loss',
    'focal_cosine_loss',
    'positive_class_loss',
    'tree_supervision_loss',
]
