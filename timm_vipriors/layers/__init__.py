"""Layers of the DSK networks, each usable on its own."""

from .anti_alias import blur_shortcut
from .dual_branch import DualBranch
from .fused_unit import FusedUnit
from .residual_unit import ResidualUnit

__all__ = ['DualBranch', 'FusedUnit', 'ResidualUnit', 'blur_shortcut']
