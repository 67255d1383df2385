"""DSK-ResNeXt: dual-branch selective-kernel networks.

VIPF: Sun et al., "A visual inductive priors framework for data-efficient image classification", ECCV 2020 workshops,
§3.1 and Table 1. The networks are timm's ResNet with other blocks; the pieces are in `timm_vipriors.layers`.

How we read the paper:
    * λ of Eq. 2 is drawn for each sample, balanced over the batch (see `DualBranch`).
    * Every place after the stem convolution that halves the resolution is blurred: the stem's pooling, the strided
      (selective-kernel) convolutions, and the strided shortcuts, which timm's `aa_layer` leaves out.
    * The "depthwise" convolutions of kernel 3 and 5 (§3.1) are grouped, 32 groups, and the one of kernel 5 has kernel 3
      with dilation 2, as in timm's `skresnext50_32x4d`. Our layer needs fewer passes over memory than timm's (see
      `timm_vipriors.layers.selective_kernel`); without anti-aliasing it is timm's own layer.
    * The last BatchNorm of a unit starts at 0, as in timm's ResNeXt, in all networks; the paper does not say. Started
      at 1, DSK learns far more slowly (tests/benchmarks/evidence): `zero_init_last=False` does so.

To synchronise BatchNorm between devices use `timm.layers.convert_sync_batchnorm`, as `--sync-bn` does:
`torch.nn.SyncBatchNorm.convert_sync_batchnorm` drops the activations that timm's norm layers contain. torchvision's
`create_feature_extractor` needs `tracer_kwargs={'leaf_modules': [DualBranch, MaskReLU]}` for the D and DSK networks.
"""

from typing import Any

import torch
from timm.layers import BlurPool2d, SelectiveKernel
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import ResNet, _cfg
from torch import nn

from ..layers import DualBranch, ResidualUnit, blur_shortcut
from ..layers.mask_relu import MaskReLU

__all__ = ['DualBottleneck', 'SKBottleneck']  # register_model adds the entry points


class SKBottleneck(ResidualUnit):
    """Residual block of one unit, its strided shortcut blurred too. Its keys are those of timm's SK bottleneck.

    Takes the arguments that timm's ResNet gives its blocks; those of the unit are `ResidualUnit`'s.

    Shape:
        Input (B, inplanes, H, W), output (B, planes * 4, H / stride, W / stride).

    Examples:
        >>> SKBottleneck(64, 16, sk_kwargs=dict(rd_divisor=8))(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Sequential | None = None,
        drop_path: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inplanes, planes, stride, **kwargs)
        self.downsample = _shortcut(downsample, kwargs)
        self.drop_path = drop_path if drop_path is not None else nn.Identity()
        self.act = kwargs.get('act_layer', nn.ReLU)(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.jit.is_scripting():  # which knows no super().forward
            self.check(x)
        residual = self.conv3(self.conv2(self.conv1(x)))
        return self.act(self.drop_path(residual) + self.downsample(x))


class DualBottleneck(nn.Module):
    """Residual block of two units and one shortcut (VIPF Eq. 2 and Fig. 1).

    Takes the arguments that timm's ResNet gives its blocks; those of the units are `ResidualUnit`'s.

    Shape:
        Input (B, inplanes, H, W), output (B, planes * 4, H / stride, W / stride).

    Examples:
        >>> DualBottleneck(64, 16, cardinality=4)(torch.randn(4, 64, 8, 8)).shape
        torch.Size([4, 64, 8, 8])
    """

    expansion = ResidualUnit.expansion

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Sequential | None = None,
        drop_path: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        unit1, unit2 = (ResidualUnit(inplanes, planes, stride, **kwargs) for _ in range(2))
        self.dual = DualBranch(unit1, unit2, shortcut=_shortcut(downsample, kwargs), drop_path=drop_path)
        act_layer = kwargs.get('act_layer', nn.ReLU)
        self.act = (MaskReLU if act_layer is nn.ReLU else act_layer)(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.dual(x))


def _shortcut(downsample: nn.Sequential | None, kwargs: dict[str, Any]) -> nn.Module:
    """The block's shortcut, anti-aliased as its units are."""
    if downsample is None:
        return nn.Identity()
    if kwargs.get('aa_layer') is None:
        return downsample
    return blur_shortcut(downsample, kwargs['aa_layer'], device=kwargs.get('device'), dtype=kwargs.get('dtype'))


_NAMES = (
    'd_resnext50_32x4d',
    'sk_resnext50_32x4d_noaa',
    'sk_resnext50_32x4d',
    'dsk_resnext26_32x4d',
    'dsk_resnext50_32x4d',
    'dsk_resnext101_32x4d',
)
_SMALL = dict(input_size=(3, 160, 160), pool_size=(5, 5))
default_cfgs = generate_default_cfgs(
    {f'{name}.untrained': _cfg(interpolation='bicubic') for name in _NAMES}
    | {'test_dsk_resnext.untrained': _cfg(interpolation='bicubic', **_SMALL)}
)

_SK_KWARGS = dict(rd_ratio=1 / 16, rd_divisor=32, split_input=False)
_SK_ARGS = dict(
    block=SKBottleneck, cardinality=32, base_width=4, aa_layer=BlurPool2d, block_args=dict(sk_kwargs=_SK_KWARGS)
)
_DSK_ARGS = {**_SK_ARGS, 'block': DualBottleneck}


def _create(variant: str, pretrained: bool, kwargs: dict[str, Any], **model_args: Any) -> ResNet:
    return build_model_with_cfg(ResNet, variant, pretrained, **{**model_args, **kwargs})


@register_model
def d_resnext50_32x4d(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """D-ResNeXt50_32x4d of VIPF Table 1: two plain ResNeXt units in every block."""
    args = dict(block=DualBottleneck, layers=(3, 4, 6, 3), cardinality=32, base_width=4)
    return _create('d_resnext50_32x4d', pretrained, kwargs, **args)


@register_model
def sk_resnext50_32x4d_noaa(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """SK-ResNeXt50_32x4d of VIPF Table 1 without anti-aliasing: layers and outputs of timm's skresnext50_32x4d."""
    args = dict(_SK_ARGS, aa_layer=None, block_args=dict(sk_kwargs=_SK_KWARGS, sk_layer=SelectiveKernel))
    return _create('sk_resnext50_32x4d_noaa', pretrained, kwargs, layers=(3, 4, 6, 3), **args)


@register_model
def sk_resnext50_32x4d(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """SK-ResNeXt50_32x4d of VIPF Table 1: selective kernels, anti-aliased."""
    return _create('sk_resnext50_32x4d', pretrained, kwargs, layers=(3, 4, 6, 3), **_SK_ARGS)


@register_model
def dsk_resnext26_32x4d(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """A DSK-ResNeXt of 26 layers, not in the paper: for small data on small machines."""
    return _create('dsk_resnext26_32x4d', pretrained, kwargs, layers=(2, 2, 2, 2), **_DSK_ARGS)


@register_model
def dsk_resnext50_32x4d(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """DSK-ResNeXt50_32x4d of VIPF Tables 1 and 3: two selective-kernel units in every block, anti-aliased."""
    return _create('dsk_resnext50_32x4d', pretrained, kwargs, layers=(3, 4, 6, 3), **_DSK_ARGS)


@register_model
def dsk_resnext101_32x4d(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """DSK-ResNeXt101_32x4d of VIPF Table 3."""
    return _create('dsk_resnext101_32x4d', pretrained, kwargs, layers=(3, 4, 23, 3), **_DSK_ARGS)


@register_model
def test_dsk_resnext(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """A tiny DSK-ResNeXt for tests, after timm's `test_*` models."""
    args = dict(block=DualBottleneck, layers=(1, 1, 1, 1), channels=(32, 48, 64, 96), cardinality=8, base_width=8)
    block_args = dict(sk_kwargs=dict(rd_ratio=1 / 8, rd_divisor=8, split_input=False))
    return _create('test_dsk_resnext', pretrained, kwargs, **args, aa_layer=BlurPool2d, block_args=block_args)
