import pytest
import torch
from timm.layers import BlurPool2d
from timm.models.resnet import downsample_avg, downsample_conv
from torch import nn

from timm_vipriors.layers import blur_shortcut


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_the_blur_strides_in_place_of_the_convolution(kernel_size):
    plain = downsample_conv(4, 6, kernel_size, stride=2).eval()
    conv = nn.Conv2d(4, 6, kernel_size, padding=kernel_size // 2, bias=False)
    conv.weight = plain[0].weight
    blurred = blur_shortcut(plain, BlurPool2d).eval()
    x = torch.randn(2, 4, 8, 8)
    # the reference: all pixels through the convolution, then the binomial 3×3 blur by its definition
    tap = torch.tensor([0.25, 0.5, 0.25])
    full = (
        nn.functional.pad(conv(x), (1, 1, 1, 1), mode='reflect')
        if kernel_size == 3
        else conv(nn.functional.pad(x, (1, 1, 1, 1), mode='reflect'))
    )
    kernel = torch.outer(tap, tap).expand(6, 1, 3, 3)
    expected = plain[-1](nn.functional.conv2d(full, kernel, stride=2, groups=6))
    torch.testing.assert_close(blurred(x), expected)
    assert sum(isinstance(m, BlurPool2d) for m in blurred) == 1


def test_a_1x1_convolution_works_on_a_quarter_of_the_pixels():
    shortcut = blur_shortcut(downsample_conv(4, 6, 1, stride=2), BlurPool2d)
    assert isinstance(shortcut[0], BlurPool2d)
    assert shortcut[0].channels == 4


@pytest.mark.parametrize('make', [downsample_conv, downsample_avg])
def test_shortcuts_that_need_no_blur_stay(make):
    shortcut = make(4, 6, 1, stride=1 if make is downsample_conv else 2)
    assert blur_shortcut(shortcut, BlurPool2d) is shortcut
