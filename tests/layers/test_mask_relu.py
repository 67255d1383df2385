"""The ReLU that keeps a mask, against torch's."""

import pytest
import timm
import torch
from timm.models._features_fx import create_feature_extractor
from torch import nn

from timm_vipriors.layers import DualBranch
from timm_vipriors.layers.mask_relu import MaskReLU

from .kept import kept_bytes


@pytest.mark.parametrize('inplace', [False, True])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('training', [False, True])
def test_it_is_torchs(inplace, dtype, training):
    values = torch.cat([torch.randn(2, 3, 4, 5).flatten(), torch.tensor([0.0, -0.0, torch.inf, -torch.inf])])
    grad = torch.randn_like(values, dtype=dtype)
    results = []
    for relu in (MaskReLU(inplace=inplace), nn.ReLU()):
        x = values.to(dtype).requires_grad_()
        y = relu.train(training)(x * 1)
        y.backward(grad)
        results.append((y.detach(), x.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_gradcheck():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(MaskReLU(), (x,))
    assert torch.autograd.gradgradcheck(MaskReLU(), (x,))


def test_layout_is_kept_and_it_works_in_place():
    x = torch.randn(2, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    assert MaskReLU()(x.requires_grad_()).is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(5)
    assert MaskReLU(inplace=True).eval()(x) is x
    with torch.no_grad():
        assert MaskReLU(inplace=True)(x) is x
    x = torch.randn(5, requires_grad=True) * 1
    place = x.data_ptr()
    assert MaskReLU(inplace=True)(x).data_ptr() == place
    assert (x >= 0).all()


@pytest.mark.filterwarnings('ignore:.*torch.jit.*:FutureWarning', 'ignore:.*torch.jit.*:DeprecationWarning')
def test_it_compiles_without_graph_break_and_scripts():
    torch._dynamo.reset()
    x = torch.randn(4, 3, requires_grad=True)
    compiled = torch.compile(MaskReLU(), fullgraph=True, backend='aot_eager')
    compiled(x).sum().backward()
    assert torch.equal(x.grad, (x > 0).float())
    assert torch.equal(torch.jit.script(MaskReLU())(x), x.relu())


def test_symbolic_traces_have_it_as_a_leaf():
    """In training too, as timm's feature extraction traces a network."""
    model = timm.create_model('test_dsk_resnext', num_classes=3).train()
    traced = create_feature_extractor(model, {'layer4': 'features'})
    assert any(isinstance(module, MaskReLU) for module in traced.modules())
    traced(torch.randn(4, 3, 64, 64))['features'].sum().backward()
    assert model.conv1.weight.grad.abs().sum() > 0


def test_a_reordered_output_is_kept_once():
    """Before a dual branch the memory of the ReLU is a quarter of its output; the branch keeps its own copy."""
    x = torch.randn(8, 4, 16, 16, requires_grad=True)
    branch = DualBranch(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    kept = [kept_bytes(lambda relu=relu: branch(relu(x * 2))) for relu in (nn.ReLU(), MaskReLU())]
    output = x.numel() * 4
    assert kept[0] - kept[1] == output - output / 4
