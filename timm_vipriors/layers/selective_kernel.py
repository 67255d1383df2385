"""timm's selective kernel (arXiv 1903.06586) without a stack of its paths.

timm stacks the paths, multiplies the stack by its attention and sums it: each step writes all paths or their sum again,
and the stack is kept for the backward pass. Here attention sees only the pooled paths, and two paths are interpolated:
their weights sum to one, so w₁ a + w₂ b = b + w₁ (a − b).
"""

import timm.layers
import torch


def select(paths: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    """The sum (B, C, H, W) of P paths of this shape with weights (B, P, C, 1, 1), whose sums over P are one."""
    weights = weights.to(paths[0].dtype)
    if len(paths) == 2:
        return torch.lerp(paths[1], paths[0], weights[:, 0])
    total = paths[0] * weights[:, 0]
    for i in range(1, len(paths)):
        total = torch.addcmul(total, paths[i], weights[:, i])
    return total


def pool(paths: list[torch.Tensor]) -> torch.Tensor:
    """Means (B, P, C, 1, 1) over the pixels of P paths (B, C, H, W), the input of attention."""
    return torch.stack([path.mean((2, 3), keepdim=True) for path in paths], dim=1)


class SelectiveKernel(timm.layers.SelectiveKernel):
    """timm's layer: the same arguments, parameters, keys and, apart from rounding, outputs.

    Examples:
        >>> SelectiveKernel(16, 32, stride=2)(torch.randn(2, 16, 8, 8)).shape
        torch.Size([2, 32, 4, 4])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.split_input:
            inputs = torch.split(x, self.in_channels // self.num_paths, dim=1)
            paths = [op(inputs[i]) for i, op in enumerate(self.paths)]
        else:
            paths = [op(x) for op in self.paths]
        return select(paths, self.attn(pool(paths)))
