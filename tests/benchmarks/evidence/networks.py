"""Small versions of Table 1's networks, through timm's registry, and the opponents."""

import timm
import torch
from timm.layers import SelectiveKernel
from torch import nn
from torch.nn.utils import parametrize

import timm_vipriors  # noqa: F401  registers the models

from .routing import set_routing
from .settings import Settings

_SK = dict(rd_ratio=1 / 8, rd_divisor=8, split_input=False)
# our rows: the registered name and the block arguments that a small width needs
NETWORKS = {
    'resnext': ('resnext50_32x4d', {}),
    'd': ('d_resnext50_32x4d', {}),
    'sk_noaa': ('sk_resnext50_32x4d_noaa', dict(block_args=dict(sk_kwargs=_SK, sk_layer=SelectiveKernel))),
    'sk': ('sk_resnext50_32x4d', dict(block_args=dict(sk_kwargs=_SK))),
    'dsk': ('dsk_resnext50_32x4d', dict(block_args=dict(sk_kwargs=_SK))),
}


def create(settings: Settings, num_classes: int) -> nn.Module:
    """The network in training mode, channels last, one input channel."""
    kwargs = dict(num_classes=num_classes, in_chans=1, drop_rate=settings.dropout)
    if settings.net in NETWORKS:
        name, more = NETWORKS[settings.net]
        channels = tuple(int(settings.width * c) // 8 * 8 for c in (32, 48, 64, 96))
        kwargs |= dict(layers=(settings.depth,) * 4, channels=channels, cardinality=8, base_width=8, **more)
        if settings.zero_init >= 0:
            kwargs['zero_init_last'] = bool(settings.zero_init)
    else:
        name = settings.net
    if settings.pool != 'avg':
        kwargs['global_pool'] = settings.pool
    model = timm.create_model(name, **kwargs)
    if settings.routing:
        set_routing(model, settings.routing)
    if settings.harmonic:
        make_harmonic(model)
    return model.to(memory_format=torch.channels_last).train()


class Harmonic(nn.Module):
    """A 3×3 convolution's weight as a sum of nine cosines, each over its L1 norm (Ulicny et al.)."""

    def __init__(self) -> None:
        super().__init__()
        wave = torch.cos(torch.pi * torch.arange(3)[:, None] * (torch.arange(3) + 0.5) / 3)
        basis = torch.einsum('ix,jy->ijxy', wave, wave).reshape(9, 3, 3)
        self.register_buffer('basis', basis / basis.abs().sum(dim=(1, 2), keepdim=True))

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        return torch.einsum('oif,fxy->oixy', coefficients.flatten(2), self.basis)


def make_harmonic(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            parametrize.register_parametrization(module, 'weight', Harmonic(), unsafe=True)
