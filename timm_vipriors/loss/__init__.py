"""Loss functions: plain modules called `loss(output, target)`, for anyone's training loop."""

from .composite import CRITERIA, create_loss
from .cosine import CosineLoss, FocalCosineLoss, cosine_loss, focal_cosine_loss

__all__ = [
    'CRITERIA',
    'CosineLoss',
    'FocalCosineLoss',
    'cosine_loss',
    'create_loss',
    'focal_cosine_loss',
]
