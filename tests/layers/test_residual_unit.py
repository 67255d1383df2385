import copy

import pytest
import torch
from timm.layers import BlurPool2d, convert_splitbn_model, convert_sync_batchnorm
from torch import nn

from timm_vipriors.layers import DualBranch, FusedUnit, ResidualUnit

SK = dict(rd_ratio=1 / 8, rd_divisor=8, split_input=False)
SHAPE = dict(inplanes=16, planes=8, cardinality=4, base_width=16)


def make_unit(**kwargs):
    return ResidualUnit(**{**SHAPE, **kwargs})


def train_a_little(module, *shape):
    """Move the BatchNorm statistics and affine parameters away from where they start."""
    module.train()
    for p in module.parameters():
        if p.ndim == 1:
            nn.init.uniform_(p, 0.5, 1.5)
    for _ in range(3):
        module(torch.randn(8, *shape) * 2 + 0.5)
    return module.eval()


@pytest.mark.parametrize('sk_kwargs', [None, SK])
@pytest.mark.parametrize(('stride', 'aa_layer'), [(1, None), (2, None), (2, BlurPool2d)])
def test_merged_units_are_their_mean(sk_kwargs, stride, aa_layer):
    unit1, unit2 = (
        train_a_little(make_unit(sk_kwargs=sk_kwargs, stride=stride, aa_layer=aa_layer), 16, 10, 10) for _ in range(2)
    )
    fused = FusedUnit(unit1, unit2).eval()
    x = torch.randn(3, 16, 10, 10)
    expected = 0.5 * (unit1(x) + unit2(x))
    assert expected.shape == (3, 32, 10 // stride, 10 // stride)
    torch.testing.assert_close(fused(x), expected, rtol=0, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    convs = sum(isinstance(m, nn.Conv2d) for m in fused.modules())
    assert convs == sum(isinstance(m, nn.Conv2d) for m in unit1.modules())  # those of one unit, not of two


def test_merge_copies_its_weights():
    unit1, unit2 = (train_a_little(make_unit(sk_kwargs=SK), 16, 6, 6) for _ in range(2))
    before = copy.deepcopy(unit1.state_dict())
    fused = FusedUnit(unit1, unit2)
    with torch.no_grad():
        for p in fused.parameters():
            p.zero_()
    assert all(torch.equal(v, before[k]) for k, v in unit1.state_dict().items())


@pytest.mark.parametrize(
    ('kwargs1', 'kwargs2', 'reason'),
    [
        (dict(), dict(planes=4), 'different shapes'),
        (dict(norm_layer=lambda c, **kw: nn.GroupNorm(1, c, **kw)),) * 2 + ('cannot be folded',),
        (dict(sk_kwargs=dict(split_input=True)),) * 2 + ('split_input=True',),
    ],
)
def test_units_that_cannot_be_merged(kwargs1, kwargs2, reason):
    if 'norm_layer' in kwargs1:
        units = [make_unit(), make_unit()]
        for unit in units:
            unit.conv1.bn = nn.GroupNorm(1, 16)
    else:
        units = [make_unit(**kwargs1), make_unit(**kwargs2)]
    with pytest.raises(ValueError, match=reason):
        FusedUnit(*units)


def test_attention_refuses_a_batch_of_one_where_its_norm_takes_the_batchs_statistics():
    unit = make_unit(sk_kwargs=SK)
    x = torch.randn(1, 16, 8, 8)
    with pytest.raises(ValueError, match='needs a batch of at least 2, got 1'):
        unit(x)
    with pytest.raises(ValueError, match='needs a batch of at least 2 in each of 2 splits, got 1'):
        convert_splitbn_model(copy.deepcopy(unit), 2)(x.expand(2, -1, -1, -1))
    for norm in (m for m in unit.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eval()  # as --freeze-bn or fine-tuning does
    assert unit.training
    assert unit(x).shape == (1, 32, 8, 8)
    assert unit.eval()(x).shape == (1, 32, 8, 8)
    assert make_unit()(x).shape == (1, 32, 8, 8)  # without attention BatchNorm has enough pixels


def test_a_sync_batchnorm_without_activations_is_refused():
    units = [make_unit(sk_kwargs=SK).eval(), make_unit().eval()]
    x = torch.randn(2, 16, 8, 8)
    for unit in units:
        expected = unit(x)
        with pytest.raises(ValueError, match=r'use timm\.layers\.convert_sync_batchnorm'):
            nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(unit))(x)
        torch.testing.assert_close(convert_sync_batchnorm(unit)(x), expected)


def test_zero_init_last_makes_the_block_its_shortcut():
    unit1, unit2 = make_unit(inplanes=32, sk_kwargs=SK), make_unit(inplanes=32, sk_kwargs=SK)
    x = torch.randn(4, 32, 6, 6)
    branch = DualBranch(unit1, unit2)
    assert not torch.equal(branch(x), x)
    unit1.zero_init_last()
    unit2.zero_init_last()
    assert torch.equal(branch(x), x)


def test_every_option_reaches_the_unit():
    plain = make_unit()
    assert make_unit(stride=2)(torch.randn(2, 16, 8, 8)).shape[-1] == 4
    assert make_unit(dilation=2).conv2.conv.dilation == (2, 2)
    assert make_unit(dilation=2, first_dilation=1).conv2.conv.dilation == (1, 1)
    assert make_unit(reduce_first=2).conv1.conv.out_channels * 2 == plain.conv1.conv.out_channels
    assert isinstance(make_unit(act_layer=nn.SiLU).conv1.bn.act, nn.SiLU)
    assert make_unit(cardinality=2, base_width=32).conv2.conv.groups == 2
    assert isinstance(make_unit(drop_block=nn.Dropout).conv2.bn.drop, nn.Dropout)
    assert make_unit(dtype=torch.float64).conv3.conv.weight.dtype == torch.float64
