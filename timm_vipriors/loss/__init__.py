"""Loss functions: plain modules called `loss(output, target)`, for anyone's training loop."""

from .base import Loss, balanced_weights
from .center import CenterLoss, center_loss
from .composite import CompositeLoss, VIPriorsLoss
from .cosine import CosineLoss, cosine_loss
from .factory import CRITERIA, check_arguments, check_spec, create_loss
from .focal_cosine import FocalCosineLoss, focal_cosine_loss
from .positive_class import PositiveClassLoss, positive_class_loss
from .tree_layout import TreeLayout
from .tree_supervision import TreeSupervisionLoss, tree_supervision_loss

__all__ = [
    'CRITERIA',
    'CenterLoss',
    'CompositeLoss',
    'CosineLoss',
    'FocalCosineLoss',
    'Loss',
    'PositiveClassLoss',
    'TreeLayout',
    'TreeSupervisionLoss',
    'VIPriorsLoss',
    'balanced_weights',
    'center_loss',
    'check_arguments',
    'check_spec',
    'cosine_loss',
    'create_loss',
    'focal_cosine_loss',
    'positive_class_loss',
    'tree_supervision_loss',
]
