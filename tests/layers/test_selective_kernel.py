"""The selective kernel against timm's, which stacks its paths, and against a plain sum."""

import pytest
import timm.layers
import torch

from timm_vipriors.layers.selective_kernel import SelectiveKernel, pool, select

from .kept import kept_bytes


@pytest.mark.parametrize('kernel_size', [[3, 5], [3, 5, 7], [3]])
@pytest.mark.parametrize('split_input', [False, True])
@pytest.mark.parametrize('training', [False, True])
def test_it_is_timms(kernel_size, split_input, training):
    """Outputs, gradients of the input and of every parameter, and BatchNorm's statistics, in float64."""
    kwargs = dict(kernel_size=kernel_size, split_input=split_input, stride=2, groups=2, dtype=torch.float64)
    ours, theirs = (cls(12, 16, **kwargs).train(training) for cls in (SelectiveKernel, timm.layers.SelectiveKernel))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 12, 9, 7, dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [module(i) for module, i in zip((ours, theirs), inputs, strict=True)]
    torch.testing.assert_close(*outputs)
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name)
    for (name, p), q in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(p, q, msg=name)


@pytest.mark.parametrize('paths', [1, 2, 3, 4])
def test_select_is_the_weighted_sum(paths):
    values = [torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(paths)]
    scores = torch.randn(2, paths, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    weights = scores.softmax(dim=1)
    expected = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    for b in range(2):
        for p in range(paths):
            for c in range(3):
                expected[b, c] += weights[b, p, c, 0, 0] * values[p][b, c]
    torch.testing.assert_close(select(values, weights), expected)
    assert pool(values).shape == weights.shape
    torch.testing.assert_close(pool(values)[1, -1, 2, 0, 0], values[-1][1, 2].mean())
    assert torch.autograd.gradcheck(lambda s, *v: select(v, s.softmax(dim=1)), (scores, *values))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_types_and_layout_stay(dtype):
    """Attention in float32, as autocast computes it, does not make float32 of the paths."""
    values = [torch.randn(2, 8, 4, 4, dtype=dtype).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    output = select(values, torch.randn(2, 2, 8, 1, 1).softmax(dim=1))
    assert output.dtype == dtype
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_kept_that_timms_would_not_need():
    """The tensors kept for the backward pass are two activations fewer than timm's: there is no stack."""

    def kept(cls):
        module, x = cls(16, 16, split_input=False), torch.randn(4, 16, 32, 32, requires_grad=True)
        return kept_bytes(lambda: module(x))

    activation = 4 * 16 * 32 * 32 * 4
    assert kept(timm.layers.SelectiveKernel) - kept(SelectiveKernel) >= 2 * activation * 0.99
