"""The contract of every registered model, and what sets each of them apart."""

import copy

import pytest
import safetensors.torch
import timm
import torch
from timm.layers import BlurPool2d, convert_splitbn_model
from timm.models.resnet import ResNet
from timm.optim import create_optimizer_v2
from timm.utils import reparameterize_model
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor as torchvision_extractor

from timm_vipriors.layers import DualBranch, FusedUnit, ResidualUnit
from timm_vipriors.layers.mask_relu import MaskReLU
from timm_vipriors.models.dsk_resnext import DualBottleneck

NAMES = [
    'd_resnext50_32x4d',
    'dsk_resnext101_32x4d',
    'dsk_resnext26_32x4d',
    'dsk_resnext50_32x4d',
    'sk_resnext50_32x4d',
    'sk_resnext50_32x4d_noaa',
    'test_dsk_resnext',
]
DUAL = [name for name in NAMES if not name.startswith('sk_')]
SMALL = 'test_dsk_resnext'


def create(name=SMALL, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, **{'num_classes': 7, **kwargs})


def images(size=64, batch=2, chans=3, seed=1, **kwargs):
    return torch.randn(batch, chans, size, size, generator=torch.Generator().manual_seed(seed), **kwargs)


def modules(model, kind):
    return [m for m in model.modules() if isinstance(m, kind)]


def test_the_registry_has_seven_models():
    assert sorted(timm.list_models(module='dsk_resnext')) == NAMES
    assert set(timm.list_models('dsk*')) <= set(NAMES)
    for name in NAMES:
        assert timm.get_pretrained_cfg(name).tag == 'untrained'
        assert not timm.is_model_pretrained(name)


@pytest.mark.parametrize('name', [pytest.param(n, marks=pytest.mark.slow) if '101' in n else n for n in NAMES])
def test_forward_backward_and_config(name):
    model = create(name).train()
    assert isinstance(model, ResNet)
    output = model(images())
    assert output.shape == (2, 7)
    output.square().mean().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert not without
    cfg = model.pretrained_cfg
    state = model.state_dict()
    assert f'{cfg["classifier"]}.weight' in state
    assert f'{cfg["first_conv"]}.weight' in state
    assert cfg['input_size'][0] == 3
    assert {n.split('.')[0] for n in state} == {'conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'layer4', 'fc'}


@pytest.mark.parametrize('name', NAMES)
def test_default_input_gives_the_configured_feature_size(name):
    model = timm.create_model(name, device='meta').eval()
    cfg = model.pretrained_cfg
    features = model.forward_features(torch.empty(1, *cfg['input_size'], device='meta'))
    assert features.shape == (1, model.num_features, *cfg['pool_size'])
    assert all(t.device.type == 'meta' for t in [*model.parameters(), *model.buffers()])


@pytest.mark.parametrize(
    'name', [n if '26' in n or 'test' in n else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_fused_model_is_equal_after_training_steps(name):
    model = create(name).train()
    for norm in modules(model, nn.BatchNorm2d):
        norm.momentum = 0.7  # the statistics arrive in few steps
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for step in range(4):
        nn.functional.cross_entropy(model(images(batch=8, seed=step)), torch.arange(8) % 7).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    before = copy.deepcopy(model.state_dict())
    fused = reparameterize_model(model)
    x = images(batch=3)
    with torch.no_grad():
        expected = model(x)
        assert 0.01 < expected.abs().max() < 20
        torch.testing.assert_close(fused(x), expected, rtol=0, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    blocks = len(modules(model, DualBranch))
    assert blocks == (sum(len(getattr(model, f'layer{i}')) for i in range(1, 5)) if name in DUAL else 0)
    assert len(modules(fused, FusedUnit)) == blocks
    assert not modules(fused, DualBranch)
    if name in DUAL:
        assert [n for n, m in fused.named_modules() if isinstance(m, nn.BatchNorm2d)] == ['bn1']


@pytest.mark.parametrize('name', NAMES)
def test_every_halving_after_the_first_convolution_is_blurred(name):
    model = create(name, device='meta')
    strided = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    blurs = modules(model, BlurPool2d)
    if name in ('d_resnext50_32x4d', 'sk_resnext50_32x4d_noaa'):
        assert not blurs
        assert len(strided) > 1
        return
    assert strided == ['conv1']
    assert model.maxpool[0].stride == 1
    paths = 4 if name in DUAL else 2
    assert len(blurs) == 1 + 3 * (paths + 1)  # the pooling; in three stages each path and the shortcut
    assert all(blur.channels is not None for blur in blurs)


def test_sk_without_anti_aliasing_is_timms_network():
    theirs = timm.create_model('skresnext50_32x4d', num_classes=7).eval()
    ours = create('sk_resnext50_32x4d_noaa').eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = images()
    assert torch.equal(ours(x), theirs(x))
    torch.manual_seed(0)
    ours.train()(x).sum().backward()
    theirs.train()(x).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), name


def test_names_say_what_is_inside():
    def build(name):
        return create(name, device='meta')

    d, sk, dsk = (build(f'{kind}_resnext50_32x4d') for kind in ('d', 'sk', 'dsk'))
    assert [len(modules(m, ResidualUnit)) for m in (d, sk, dsk)] == [32, 16, 32]
    assert [m.layer1[0].dual.unit1.selective for m in (d, dsk)] == [False, True]
    assert sk.layer1[0].selective
    assert [len(build(n).layer3) for n in ('dsk_resnext26_32x4d', 'dsk_resnext50_32x4d', 'dsk_resnext101_32x4d')] == [
        2,
        6,
        23,
    ]
    assert len(modules(dsk, DualBottleneck)) == 16
    assert dsk.layer1[0].dual.unit1.conv2.paths[0].conv.groups == 32


def test_the_units_of_a_block_start_apart():
    block = create().layer1[0].dual
    assert not torch.equal(block.unit1.conv1.conv.weight, block.unit2.conv1.conv.weight)


@pytest.mark.parametrize('name', ['test_dsk_resnext', 'd_resnext50_32x4d'])
def test_training_uses_one_unit_per_sample_and_inference_both(name):
    model = create(name)
    seen = []
    for unit in modules(model, ResidualUnit):
        unit.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[0]))
    model.train()(images(batch=8))
    assert set(seen) == {4}
    seen.clear()
    model.eval()(images(batch=8))
    assert set(seen) == {8}


def test_batch_of_one_in_training():
    with pytest.raises(ValueError, match='needs a batch of at least 2, got 1'):
        create('sk_resnext50_32x4d').train()(images(batch=1))
    assert create('d_resnext50_32x4d').train()(images(batch=1)).shape == (1, 7)


@pytest.mark.parametrize('name', ['test_dsk_resnext', 'sk_resnext50_32x4d'])
def test_a_batch_of_one_with_frozen_statistics(name):
    model = create(name).train()
    for norm in modules(model, nn.BatchNorm2d):
        norm.eval()
    torch.manual_seed(0)
    assert model(images(batch=1)).isfinite().all()


def test_split_batchnorm_normalises_clean_and_augmented_images_apart():
    """As --aug-splits 2 --split-bn has it: the second half of a batch changes nothing for the first."""
    model = convert_splitbn_model(create(), 2).train()
    x, outputs = images(batch=8), []
    for second in (0.0, 100.0):
        torch.manual_seed(1)
        outputs.append(model(torch.cat([x[:4], x[4:] + second]))[:4])
    assert torch.equal(*outputs)


@pytest.mark.parametrize('name', ['test_dsk_resnext', 'sk_resnext50_32x4d_noaa'])
def test_torchvisions_feature_extraction(name):
    """In training and in inference; a dual branch is a leaf."""
    model = create(name)
    extractor = torchvision_extractor(
        model, {'layer4': 'features'}, tracer_kwargs={'leaf_modules': [DualBranch, MaskReLU]}
    )
    assert extractor.train()(images(batch=4))['features'].requires_grad
    model.load_state_dict(extractor.state_dict(), strict=False)
    expected = model.eval().forward_features(images())
    torch.testing.assert_close(extractor.eval()(images())['features'], expected)


def test_classifier_and_pooling():
    model = create(num_classes=0).eval()
    x = images()
    assert model(x).shape == (2, model.num_features)
    for pool, factor in (('avg', 1), ('max', 1), ('avgmax', 1), ('catavgmax', 2)):
        model = create(global_pool=pool).eval()
        assert model.fc.in_features == factor * model.num_features
        features = model.forward_features(x)
        pooled = model.forward_head(features, pre_logits=True)
        avg, top = features.mean((2, 3)), features.amax((2, 3))
        expected = {'avg': avg, 'max': top, 'avgmax': 0.5 * (avg + top), 'catavgmax': torch.cat([avg, top], 1)}[pool]
        torch.testing.assert_close(pooled, expected)
    model.reset_classifier(11, 'avg')
    assert model(x).shape == (2, 11)
    model.reset_classifier(0, '')
    assert model(x).shape == (2, model.num_features, 2, 2)


@pytest.mark.parametrize('name', ['test_dsk_resnext', 'd_resnext50_32x4d', 'sk_resnext50_32x4d'])
@pytest.mark.parametrize('output_stride', [8, 16])
def test_output_stride(name, output_stride):
    model = create(name, output_stride=output_stride, device='meta')
    features = model.forward_features(torch.empty(2, 3, 96, 96, device='meta'))
    assert features.shape[-1] == 96 // output_stride
    model = create(name, output_stride=output_stride, features_only=True, device='meta')
    assert model.feature_info.reduction()[-1] == output_stride


def test_features_only_and_intermediates():
    x = images()
    model = create(features_only=True).eval()
    assert [f.shape[1] for f in model(x)] == model.feature_info.channels()
    assert [64 // f.shape[-1] for f in model(x)] == model.feature_info.reduction() == [2, 4, 8, 16, 32]
    model = create().eval()
    last, intermediates = model.forward_intermediates(x)
    assert torch.equal(last, model.forward_features(x))
    for a, b in zip(intermediates, create(features_only=True).eval()(x), strict=True):
        torch.testing.assert_close(a, b)


def test_dropout_and_drop_path_act_in_training():
    x = images(batch=8)
    for kwargs in ({'drop_rate': 0.9}, {'drop_path_rate': 0.9}, {'drop_block_rate': 0.5}):
        plain, dropped = (create(**k, zero_init_last=False) for k in (dict.fromkeys(kwargs, 0.0), kwargs))
        dropped.load_state_dict(plain.state_dict())
        assert torch.equal(plain.eval()(x), dropped.eval()(x))
        torch.manual_seed(5)
        a = plain.train()(x)
        torch.manual_seed(5)
        b = dropped.train()(x)
        assert not torch.allclose(a, b), kwargs


def test_gradient_checkpointing_changes_no_gradient():
    x = images(batch=6)
    grads = []
    for enable in (False, True):
        model = create().train()
        model.set_grad_checkpointing(enable)
        torch.manual_seed(2)
        model(x).square().sum().backward()
        grads.append([p.grad for p in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_parameter_groups_by_layer():
    model = create()
    groups = create_optimizer_v2(model, opt='sgd', lr=0.1, layer_decay=0.5).param_groups
    scales = {g['lr_scale'] for g in groups}
    assert len(scales) == 6  # stem, four blocks, head


def test_zero_init_last():
    model = create()
    block = model.layer1[0].dual
    assert not block.unit1.conv3.bn.weight.any()
    assert not block.unit2.conv3.bn.weight.any()
    assert create(zero_init_last=False).layer1[0].dual.unit1.conv3.bn.weight.all()


def test_dtype():
    model = create(dtype=torch.float64)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model(images(dtype=torch.float64)).dtype == torch.float64
    assert create().to(torch.bfloat16).eval()(images().bfloat16()).dtype == torch.bfloat16


def test_safetensors_checkpoint(tmp_path):
    model = create().train()
    model(images())
    path = tmp_path / 'model.safetensors'
    safetensors.torch.save_file(model.state_dict(), path)
    loaded = timm.create_model(SMALL, num_classes=7, checkpoint_path=str(path))
    assert torch.equal(loaded.eval()(images()), model.eval()(images()))


@pytest.mark.filterwarnings('ignore:.*torch.jit.*:FutureWarning', 'ignore:.*torch.jit.*:DeprecationWarning')
@pytest.mark.parametrize('fuse', [False, True])
def test_torchscript_and_export(fuse):
    model = create(scriptable=True).eval()
    model = reparameterize_model(model) if fuse else model
    x = images(batch=3)
    torch.testing.assert_close(torch.jit.script(model)(x), model(x))
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


def test_compiles_without_graph_break():
    torch._dynamo.reset()
    model = create().train()
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    x = images(batch=6)
    torch.manual_seed(0)
    expected = model(x)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x), expected)
