"""Two residual units merged for inference: one unit of twice the width, without BatchNorm."""

import copy

import torch
from timm.layers import ConvNormAct
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .selective_kernel import pool, select


class FusedUnit(nn.Module):
    """The mean of two residual units, as one unit of twice the width with every BatchNorm folded away.

    The first convolutions share their input and are concatenated; the middle ones become one with twice the groups;
    the last ones and the factor 0.5 fold into one convolution over both halves.

    Args:
        unit1: A `ResidualUnit`; its weights are copied.
        unit2: A `ResidualUnit` of the same shape.

    Raises:
        ValueError: If the units differ, or their norms do not fold into their convolutions.

    Examples:
        >>> from timm_vipriors.layers import ResidualUnit
        >>> units = [ResidualUnit(64, 16).eval() for _ in range(2)]
        >>> x = torch.randn(1, 64, 8, 8)
        >>> mean = 0.5 * (units[0](x) + units[1](x))
        >>> torch.allclose(FusedUnit(*units)(x), mean, atol=1e-5)
        True
    """

    def __init__(self, unit1: nn.Module, unit2: nn.Module) -> None:
        super().__init__()
        shapes1, shapes2 = ({k: v.shape for k, v in u.state_dict().items()} for u in (unit1, unit2))
        if shapes1 != shapes2:
            raise ValueError('the two units have different shapes')
        self.conv1 = _FusedConv([unit1.conv1, unit2.conv1], share_input=True)
        paths1, paths2 = (list(u.conv2.paths) if u.selective else [u.conv2] for u in (unit1, unit2))
        if unit1.selective and unit1.conv2.split_input:
            raise ValueError('SelectiveKernel(split_input=True) cannot be merged')
        self.paths = nn.ModuleList(_FusedConv(pair, share_input=False) for pair in zip(paths1, paths2, strict=True))
        self.attn = _FusedAttention([unit1.conv2.attn, unit2.conv2.attn]) if unit1.selective else nn.Identity()
        self.selective = unit1.selective
        weights, biases = zip(*(_fold(u.conv3.conv, u.conv3.bn) for u in (unit1, unit2)), strict=True)
        self.conv3 = _conv_from(0.5 * torch.cat(weights, dim=1), 0.5 * (biases[0] + biases[1]), unit1.conv3.conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        outputs = [path(x) for path in self.paths]
        x = select(outputs, self.attn(pool(outputs))) if self.selective else outputs[0]
        return self.conv3(x)


class _FusedConv(nn.Module):
    """Two convolutions with norm, activation and anti-aliasing, side by side in one."""

    def __init__(self, convs: list[ConvNormAct], share_input: bool) -> None:
        super().__init__()
        weights, biases = zip(*(_fold(c.conv, c.bn) for c in convs), strict=True)
        groups = 1 if share_input else 2
        self.conv = _conv_from(torch.cat(weights), torch.cat(biases), convs[0].conv, groups)
        self.act = copy.deepcopy(convs[0].bn.act)
        self.aa = _double_channels(convs[0].aa)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.aa(self.act(self.conv(x)))


class _FusedAttention(nn.Module):
    """Two selective-kernel attentions over channels that lie side by side."""

    def __init__(self, attns: list[nn.Module]) -> None:
        super().__init__()
        self.num_paths: int = attns[0].num_paths
        weights, biases = zip(*(_fold(a.fc_reduce, a.bn) for a in attns), strict=True)
        self.fc_reduce = _conv_from(torch.cat(weights), torch.cat(biases), attns[0].fc_reduce, groups=2)
        self.act = copy.deepcopy(attns[0].act)
        self.fc_select = _conv_from(torch.cat([a.fc_select.weight for a in attns]), None, attns[0].fc_select, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps pooled paths (B, P, 2C, 1, 1) to the paths' weights of the same shape."""
        scores = self.fc_select(self.act(self.fc_reduce(x.sum(1))))
        b, p = x.shape[0], self.num_paths
        scores = scores.view(b, 2, p, -1, 1, 1).transpose(1, 2).reshape(b, p, -1, 1, 1)
        return scores.softmax(dim=1)


def fold_shortcut(shortcut: nn.Module) -> nn.Module:
    """A copy of a shortcut, its BatchNorm folded into the convolution before it where that can be done."""
    shortcut = copy.deepcopy(shortcut)
    if not isinstance(shortcut, nn.Sequential) or len(shortcut) < 2:
        return shortcut
    *before, conv, norm = shortcut
    try:
        return nn.Sequential(*before, _conv_from(*_fold(conv, norm), conv))
    except ValueError:
        return shortcut


@torch.no_grad()
def _fold(conv: nn.Module, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution with its BatchNorm folded in, in float64."""
    if type(conv) is not nn.Conv2d or not isinstance(norm, nn.BatchNorm2d) or norm.running_var is None:
        pair = f'{type(conv).__name__} and {type(norm).__name__}'
        raise ValueError(f'{pair} cannot be folded: expected a Conv2d and a BatchNorm2d with running statistics')
    fused = fuse_conv_bn_eval(*(copy.deepcopy(module).double().eval() for module in (conv, norm)))
    return fused.weight, fused.bias


def _conv_from(weight: torch.Tensor, bias: torch.Tensor | None, like: nn.Conv2d, groups: int = 1) -> nn.Conv2d:
    """A convolution with these weights, `groups` times as many groups, and all else like another."""
    conv = copy.deepcopy(like)
    trained = like.weight.requires_grad
    conv.weight = nn.Parameter(weight.detach().to(like.weight), trained)
    conv.bias = None if bias is None else nn.Parameter(bias.detach().to(like.weight), trained)
    conv.groups *= groups
    conv.out_channels, conv.in_channels = len(weight), weight.shape[1] * conv.groups
    return conv


def _double_channels(aa: nn.Module | None) -> nn.Module:
    """The anti-aliasing layer for twice the channels."""
    if aa is None:
        return nn.Identity()
    aa = copy.deepcopy(aa)
    if getattr(aa, 'channels', None) is not None:
        aa.channels *= 2
        aa.filt = torch.cat([aa.filt, aa.filt])
    return aa
