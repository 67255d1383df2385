"""The residual unit F(X, W) of VIPF Eq. 2.

The unit is the bottleneck of ResNeXt (arXiv 1611.05431), with a selective kernel (arXiv 1903.06586) for its 3×3
convolution in the SK and DSK networks, built from timm's `ConvNormAct` and `SelectiveKernel`.
"""

import math
from typing import Any

import torch
from timm.layers import ConvNormAct
from timm.layers.typing import LayerType
from torch import nn

from .selective_kernel import SelectiveKernel


class ResidualUnit(nn.Module):
    """Bottleneck without shortcut and last activation: F(X, W) of VIPF Eq. 2.

    Args:
        inplanes: Input channels.
        planes: Base width of the stage; the output has `planes * expansion` channels.
        stride: Stride of the middle convolution.
        cardinality: Groups of the middle convolution.
        base_width: Channels of a group at 64 planes.
        sk_kwargs: Arguments of timm's `SelectiveKernel`. None uses one plain 3×3 convolution instead.
        sk_layer: The selective kernel: ours, or timm's own for outputs that are timm's to the last bit.
        reduce_first: Divides the width of the first convolution.
        dilation: Dilation of the stage; unused by a bottleneck, whose middle convolution takes `first_dilation`.
        first_dilation: Dilation of the middle convolution, `dilation` if None.
        act_layer: Activation.
        norm_layer: Normalisation.
        aa_layer: Anti-aliasing layer, used where there is a stride.
        drop_block: timm's drop-block factory, or None.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Shape:
        Input (B, inplanes, H, W), output (B, planes * 4, H / stride, W / stride).

    Examples:
        >>> ResidualUnit(64, 16, stride=2, cardinality=4)(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 64, 4, 4])
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        cardinality: int = 1,
        base_width: int = 64,
        sk_kwargs: dict[str, Any] | None = None,
        sk_layer: type[nn.Module] = SelectiveKernel,
        reduce_first: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        act_layer: type[nn.Module] = nn.ReLU,
        norm_layer: type[nn.Module] = nn.BatchNorm2d,
        aa_layer: LayerType | None = None,
        drop_block: Any = None,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        width = math.floor(planes * (base_width / 64)) * cardinality
        kwargs = dict(act_layer=act_layer, norm_layer=norm_layer, device=device, dtype=dtype)
        self.conv1 = ConvNormAct(inplanes, width // reduce_first, kernel_size=1, **kwargs)
        conv2_kwargs = dict(
            stride=stride,
            dilation=first_dilation or dilation,
            groups=cardinality,
            aa_layer=aa_layer,
            drop_layer=drop_block,
            **kwargs,
        )
        self.selective = sk_kwargs is not None
        if self.selective:
            self.conv2 = sk_layer(width // reduce_first, width, **conv2_kwargs, **sk_kwargs)
        else:
            self.conv2 = ConvNormAct(width // reduce_first, width, kernel_size=3, **conv2_kwargs)
        self.conv3 = ConvNormAct(width, planes * self.expansion, kernel_size=1, apply_act=False, **kwargs)

    def zero_init_last(self) -> None:
        """Start as zero, so that the block starts as its shortcut."""
        if getattr(self.conv3.bn, 'weight', None) is not None:
            nn.init.zeros_(self.conv3.bn.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.jit.is_scripting():
            self.check(x)
        x = self.conv1(x)
        x = self.conv2(x)
        return self.conv3(x)

    def check(self, x: torch.Tensor) -> None:
        """Raise a ValueError if attention has one value per channel to normalise, or a norm has lost its activation."""
        if type(self.conv1.bn) is nn.SyncBatchNorm:
            raise ValueError(
                "torch.nn.SyncBatchNorm.convert_sync_batchnorm has dropped the activations inside timm's norm layers: "
                'use timm.layers.convert_sync_batchnorm'
            )
        norm = self.conv2.attn.bn if self.selective else None
        if not isinstance(norm, nn.BatchNorm2d) or isinstance(x, torch.fx.Proxy):
            return
        splits = getattr(norm, 'num_splits', 1)  # of timm's SplitBatchNorm2d
        if (norm.training or norm.running_mean is None) and x.shape[0] // splits < 2:
            each = f' in each of {splits} splits' if splits > 1 else ''
            raise ValueError(
                'selective-kernel attention normalises one pooled value per channel and image over the batch: training '
                f'needs a batch of at least 2{each}, got {x.shape[0] / splits:g}'
            )
