"""Layers of the DSK networks, each usable on its own."""

from .anti_alias import blur_shortcut
from .dual_branch import DualBranch
from .residual_unit import FusedUnit, ResidualUnit

__all__ = ['DualBranch', 'FusedUnit', 'ResidualUnit', 'blur_shortcut']
