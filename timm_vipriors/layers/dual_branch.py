"""Dual branch: two residual units share a shortcut and, in training, the batch.

VIPF Eq. 2: `X + λ F(X, W1) + (1 − λ) F(X, W2)`, with λ ∈ {0, 1} drawn at random in training and λ = 0.5 in inference.

The paper does not say what one draw of λ covers. Here it covers one sample in one block, and the draws are balanced:
half of the batch goes through each unit. A training step thus costs the arithmetic of one unit, both units get a
gradient in every step, and all shapes follow from the batch size alone.
"""

import warnings

import torch
from timm.layers import SplitBatchNorm2d, register_notrace_module
from torch import nn

from .fused_unit import FusedUnit, fold_shortcut


def _take(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """`x[index]`, copied sample by sample in either memory format."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return x.index_select(0, index)


class _Split(torch.autograd.Function):
    """`x[first], x[second]` of two halves: the gradient is their join, while that of indexing would accumulate."""

    @staticmethod
    def forward(x: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _take(x, first), _take(x, second)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx, grad1, grad2):
        return _Join.apply(grad1, grad2, *ctx.saved_tensors), None, None


class _Join(torch.autograd.Function):
    """The batch of which `y1` and `y2` are the halves that `_Split` gives."""

    @staticmethod
    def forward(y1: torch.Tensor, y2: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        channels_last = y1.ndim == 4 and y1.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        y = torch.empty(len(y1) + len(y2), *y1.shape[1:], dtype=y1.dtype, device=y1.device, memory_format=layout)
        rows, y1, y2 = (t.permute(0, 2, 3, 1) if channels_last else t for t in (y, y1, y2))
        rows.index_copy_(0, first, y1).index_copy_(0, second, y2)
        return y

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, grad):
        return *_Split.apply(grad, *ctx.saved_tensors), None, None


def _split(x: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if torch.jit.is_scripting():  # TorchScript knows no autograd functions
        return _take(x, first), _take(x, second)
    return _Split.apply(x, first, second)


def _join(y1: torch.Tensor, y2: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    if torch.jit.is_scripting():
        return _take(torch.cat([y1, y2]), torch.cat([first, second]).argsort())
    return _Join.apply(y1, y2, first, second)


@register_notrace_module  # the routing depends on the batch size, which symbolic tracing does not know
class DualBranch(nn.Module):
    """Shortcut plus two residual units (VIPF Eq. 2), the last activation left to the caller.

    In training a random half of the batch goes through `unit1` and the rest through `unit2`. In an odd batch one sample
    goes through both, and one of its results is taken at random, so that shapes are static. A batch of fewer than four
    would leave a unit one sample, too few for a BatchNorm on pooled features: there both units see the whole batch and
    λ selects for each sample. In inference the output is the mean of both.

    After `timm.layers.convert_splitbn_model` (`--split-bn`), which normalises parts of the batch separately, half of
    each part goes through each unit.

    Args:
        unit1: The residual unit F(·, W1), mapping (B, C, H, W) to (B, C', H', W').
        unit2: The residual unit F(·, W2), of the same shape; its weights should be drawn independently.
        shortcut: Maps the input to the shape of the units' outputs. None is the identity.
        drop_path: Stochastic depth over the residual sum (timm's `DropPath`). None leaves it out.

    Shape:
        Input (B, C, H, W), output (B, C', H', W').

    Examples:
        >>> branch = DualBranch(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
        >>> branch(torch.randn(8, 3, 16, 16)).shape
        torch.Size([8, 3, 16, 16])
    """

    def __init__(
        self,
        unit1: nn.Module,
        unit2: nn.Module,
        shortcut: nn.Module | None = None,
        drop_path: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.unit1 = unit1
        self.unit2 = unit2
        self.shortcut = shortcut if shortcut is not None else nn.Identity()
        self.drop_path = drop_path if drop_path is not None else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        splits = 1
        if not torch.jit.is_scripting():
            splits = self._num_splits()
        size = x.shape[0] // splits
        if not self.training:
            y1, y2 = self._units(x, x)
            residual = 0.5 * (y1 + y2)
        elif size < 4 or (splits > 1 and size % 2):
            residual = self._forward_masked(x)
        else:
            residual = self._forward_routed(x, splits)
        residual, shortcut = self.drop_path(residual), self.shortcut(x)
        if residual.dtype != shortcut.dtype:  # the sum has the wider one
            return residual + shortcut
        return residual.add_(shortcut)

    def _num_splits(self) -> int:
        """The number of consecutive parts of a batch that timm's `SplitBatchNorm2d` normalises separately."""
        norms = (module for module in self.unit1.modules() if isinstance(module, nn.BatchNorm2d))
        norm = next(norms, None)  # the conversion replaces all of them
        return norm.num_splits if isinstance(norm, SplitBatchNorm2d) else 1

    def _forward_routed(self, x: torch.Tensor, splits: int) -> torch.Tensor:
        """Each unit computes its half of the batch only, or of each split."""
        batch_size = x.shape[0]
        half = batch_size // 2
        order = torch.rand(splits, batch_size // splits, device=x.device).argsort(dim=1)
        if splits > 1:
            order = order + torch.arange(0, batch_size, batch_size // splits, device=x.device).unsqueeze(1)
            order = order.view(splits, 2, -1).transpose(0, 1)  # the halves of all splits for a unit
        first, second = order.flatten().tensor_split([half])
        x1, x2 = _split(x, first, second)
        if batch_size % 2:  # the first of `second` goes through both units
            y1, y2 = self._units(torch.cat([x1, x2[:1]]), x2)
            odd = torch.where(torch.rand(1, device=x.device) < 0.5, y1[half:], y2[:1])
            y1, y2 = y1[:half], torch.cat([odd, y2[1:]])
        else:
            y1, y2 = self._units(x1, x2)
        return _join(y1, y2, first, second)

    def _forward_masked(self, x: torch.Tensor) -> torch.Tensor:
        """Both units compute the whole batch, a balanced λ selects for each sample."""
        batch_size = x.shape[0]
        rank = torch.rand(batch_size, device=x.device).argsort()
        coin = torch.randint(2, (1,), device=x.device)  # the side of an odd one out
        first = (2 * rank + coin < batch_size).view(batch_size, 1, 1, 1)
        y1, y2 = self._units(x, x)
        return torch.where(first, y1, y2)

    def _units(self, x1: torch.Tensor, x2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.unit1(x1), self.unit2(x2)

    def fuse(self) -> nn.Module:
        """Merge the two units into one, for inference; `timm.utils.reparameterize_model` calls this.

        Returns:
            A module with the output of this one in eval mode, made from copies of its weights. If the units cannot be
            merged (see `FusedUnit`), this module itself, with a warning.
        """
        try:
            return FusedBranch(FusedUnit(self.unit1, self.unit2), fold_shortcut(self.shortcut))
        except (ValueError, AttributeError) as e:  # such as units that are no `ResidualUnit`
            warnings.warn(f'DualBranch is left unfused: {e}.', stacklevel=2)
            return self


class FusedBranch(nn.Module):
    """Shortcut plus one merged unit: what `DualBranch.fuse` returns."""

    def __init__(self, unit: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.unit = unit
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.unit(x)
