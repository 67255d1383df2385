"""Anti-aliasing of the shortcut projection, the only strided layer that timm's `aa_layer` leaves out.

VIPF §3.1 blurs wherever the resolution is halved, after Zhang, "Making Convolutional Networks Shift-Invariant Again"
(arXiv 1904.11486). timm blurs the stem's pooling and the strided block convolution.
"""

from timm.layers import create_aa
from timm.layers.typing import LayerType
from torch import nn


def blur_shortcut(downsample: nn.Sequential, aa_layer: LayerType, device=None, dtype=None) -> nn.Sequential:
    """Let a blur do the striding of a shortcut's convolution.

    A 1×1 convolution and a blur commute, so the blur goes first, and the convolution has a quarter of the pixels. A
    larger kernel is blurred afterwards.

    Args:
        downsample: timm's projection shortcut, its convolution first (`timm.models.resnet.downsample_conv`). One with
            average pooling (`avg_down=True`), a low-pass already, or without a stride is returned as it is.
        aa_layer: The anti-aliasing layer, as timm's ResNet takes it.
        device: Where the blur's buffers are made.
        dtype: Type of the blur's buffers.

    Returns:
        The shortcut. Its convolution's and norm's parameters are those of `downsample`, which it takes over.
    """
    conv = downsample[0]
    if not isinstance(conv, nn.Conv2d) or conv.stride == (1, 1):
        return downsample
    first = conv.kernel_size == (1, 1)
    channels = conv.in_channels if first else conv.out_channels
    blur = create_aa(aa_layer, channels=channels, stride=conv.stride[0], device=device, dtype=dtype)
    conv.stride = (1, 1)
    return nn.Sequential(blur, *downsample) if first else nn.Sequential(conv, blur, *downsample[1:])
