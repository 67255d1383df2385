"""Experimental ways to draw λ in a DualBranch, none of them in the package.

All but 'alike' and 'batch' compute both units, so a step costs up to twice a routed one.
"""

import torch
from torch import nn

from timm_vipriors.layers import DualBranch

ROUTINGS = {
    'mean': 'both units always, their mean',
    'late': 'the mean first, routed at random in the second half of the run',
    'early': 'routed at random in the first half of the run, then the mean',
    'fade-in': 'λ = ½ ± a per sample, a rising from 0 to ½ over the run',
    'fade-out': 'the same, a falling from ½ to 0',
    'even': "forward λ ∈ {0, 1} per sample, backward ½ (Shake-Shake's 'even')",
    'shake': 'forward and backward with independent draws',
    'batch': 'one λ ∈ {0, 1} a block and batch',
    'three': 'λ ∈ {0, ½, 1} per sample',
    'uniform': 'λ ~ U[0, 1] per sample',
    'alike': "the package's routing, unit 2 starts as a copy of unit 1",
    'half': 'the mean in the first two stages, routed in the last two',
}


class VariantBranch(DualBranch):
    """A DualBranch whose draw follows `routing` and the `progress` of the run, in 0 … 1."""

    routing: str
    progress: float = 0.0
    stage: int = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mode = self.routing
        routed = (
            mode == 'alike'
            or (mode == 'late' and self.progress >= 0.5)
            or (mode == 'early' and self.progress < 0.5)
            or (mode == 'half' and self.stage >= 2)
        )
        if not self.training or routed:
            return super().forward(x)
        if mode == 'batch':
            unit = self.unit1 if torch.rand(()) < 0.5 else self.unit2
            return self.shortcut(x) + self.drop_path(unit(x))
        return self.shortcut(x) + self.drop_path(self._weighted(self.unit1(x), self.unit2(x)))

    def _weighted(self, y1: torch.Tensor, y2: torch.Tensor) -> torch.Tensor:
        def mix(share: torch.Tensor | float) -> torch.Tensor:
            return share * y1 + (1 - share) * y2

        draw = torch.rand(len(y1), 1, 1, 1)
        side = (draw < 0.5).to(y1.dtype)
        match self.routing:
            case 'fade-in':
                return mix(0.5 + self.progress * (side - 0.5))
            case 'fade-out':
                return mix(0.5 + (1 - self.progress) * (side - 0.5))
            case 'even' | 'shake':
                other = 0.5 if self.routing == 'even' else (torch.rand_like(draw) < 0.5).to(y1.dtype)
                backward = mix(other)
                return backward + (mix(side) - backward).detach()
            case 'three':
                return mix(torch.floor(3 * draw) / 2)
            case 'uniform':
                return mix(draw)
            case 'mean' | 'late' | 'early' | 'half':
                return mix(0.5)
        raise ValueError(f'no such routing: {self.routing}')


def set_routing(model: nn.Module, routing: str) -> None:
    """Change the DualBranches of a timm ResNet."""
    if routing not in ROUTINGS:
        raise ValueError(f'expected a routing of {", ".join(ROUTINGS)}, got {routing!r}')
    for stage in range(4):
        for module in getattr(model, f'layer{stage + 1}').modules():
            if isinstance(module, DualBranch):
                module.__class__ = VariantBranch
                module.routing, module.stage = routing, stage
                if routing == 'alike':
                    module.unit2.load_state_dict(module.unit1.state_dict())


def set_progress(model: nn.Module, progress: float) -> None:
    for module in model.modules():
        if isinstance(module, VariantBranch):
            module.progress = progress
