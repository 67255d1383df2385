"""Layers of the DSK networks, each usable on its own."""

from .anti_alias import blur_shortcut
from .dual_branch import DualBranch
from .fused_unit import FusedUnit
from .residual_unit import ResidualUnit
from .selective_kernel import SelectiveKernel

__all__ = ['DualBranch', 'FusedUnit', 'ResidualUnit', 'SelectiveKernel', 'blur_shortcut']
