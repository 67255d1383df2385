"""Our models under timm's own tools: what works with a model of timm works with them."""

import copy

import pytest
import timm
import torch
from packaging.version import Version
from timm.data import resolve_model_data_config
from timm.layers import FrozenBatchNormAct2d
from timm.models import save_for_hf
from timm.models._hub import load_model_config_from_path
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3, freeze, reparameterize_model, unfreeze
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from timm_vipriors.layers import DualBranch

from .networks import NUM_CLASSES, SMALL, images, seen

DSK = ['dsk_resnext101_32x4d', 'dsk_resnext26_32x4d', 'dsk_resnext50_32x4d']
FROZEN = (FrozenBatchNorm2d, FrozenBatchNormAct2d)


def norms(model, kind):
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_listed_by_a_pattern():
    assert sorted(timm.list_models('dsk*')) == DSK
    assert set(timm.list_models('*sk_resnext50*')) == {
        *('dsk_resnext50_32x4d', 'sk_resnext50_32x4d', 'sk_resnext50_32x4d_noaa')
    }
    assert not timm.list_models('dsk*', pretrained=True)


@pytest.mark.parametrize(
    ('name', 'channels'), [(SMALL, [64, 128, 192, 256, 384]), (DSK[1], [64, 256, 512, 1024, 2048])]
)
def test_features_only(name, channels):
    model = timm.create_model(name, features_only=True, device='meta')
    assert model.feature_info.channels() == channels
    assert model.feature_info.reduction() == [2, 4, 8, 16, 32]
    features = model(torch.empty(2, 3, 64, 64, device='meta'))
    assert [tuple(f.shape) for f in features] == [
        (2, c, 64 // r, 64 // r) for c, r in zip(channels, (2, 4, 8, 16, 32), strict=True)
    ]


def test_features_of_chosen_stages_are_those_of_the_whole_network():
    whole = seen()
    part = timm.create_model(SMALL, features_only=True, out_indices=(1, 3)).eval()
    part.load_state_dict(whole.state_dict(), strict=False)
    x = images()
    first, second = part(x)
    stage1 = whole.layer1(whole.maxpool(whole.act1(whole.bn1(whole.conv1(x)))))
    torch.testing.assert_close(first, stage1)
    torch.testing.assert_close(second, whole.layer3(whole.layer2(stage1)))


@pytest.mark.parametrize(('name', 'size'), [(SMALL, 160), *((name, 224) for name in DSK)])
def test_data_config(name, size):
    config = resolve_model_data_config(timm.create_model(name, device='meta'))
    assert config == {
        'input_size': (3, size, size),
        'interpolation': 'bicubic',
        'mean': (0.485, 0.456, 0.406),
        'std': (0.229, 0.224, 0.225),
        'crop_pct': 0.875,
        'crop_mode': 'center',
    }


@pytest.mark.parametrize('name', [SMALL, 'dsk_resnext26_32x4d'])
@pytest.mark.parametrize('inplace', [False, True])
def test_reparameterize(name, inplace):
    model = seen(name)
    before, x = count(model), images()
    with torch.no_grad():
        expected = model(x)
        assert expected.std(0).min() > 1e-3  # the images are told apart
        fused = reparameterize_model(model, inplace=inplace)
        torch.testing.assert_close(fused(x), expected, rtol=0, atol=1e-5)
    assert count(fused) < before
    assert not [m for m in fused.modules() if isinstance(m, DualBranch)]
    assert (fused is model) == inplace


def test_freeze_and_unfreeze_by_name():
    model = seen()
    x = images()
    expected = model(x).detach()
    frozen = ['conv1', 'bn1', 'layer1', 'layer2.0.dual.unit1']
    freeze(model, frozen)
    inside = tuple(f'{name}.' for name in frozen)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert trainable == {name for name, _ in model.named_parameters() if not name.startswith(inside)}
    assert all(f'{name}.'.startswith(inside) for name in norms(model, FROZEN))
    assert not [name for name in norms(model, nn.BatchNorm2d) if f'{name}.'.startswith(inside)]
    assert len(norms(model, FROZEN)) == 1 + 2 * 5 + 1 + 5  # stem, both units and the shortcut of a block, one unit
    torch.testing.assert_close(model(x).detach(), expected)

    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(model.train()(images(8)), torch.arange(8) % NUM_CLASSES).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if name.startswith(inside)}
    assert {name for name in changed if name.endswith('running_mean')}
    assert trainable <= changed

    unfreeze(model)
    assert all(p.requires_grad for p in model.parameters())
    assert not norms(model, FROZEN)
    assert {name for name, _ in model.named_parameters()} == {name for name, _ in seen().named_parameters()}


@pytest.mark.parametrize('name', [SMALL, 'dsk_resnext26_32x4d'])
def test_layer_decay(name):
    model = timm.create_model(name, num_classes=NUM_CLASSES)
    optimizer = create_optimizer_v2(model, opt='adamw', lr=0.1, weight_decay=0.05, layer_decay=0.5)
    grouped = [id(p) for group in optimizer.param_groups for p in group['params']]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    scale = {id(p): group['lr_scale'] for group in optimizer.param_groups for p in group['params']}

    def scales(*modules):
        return {scale[id(p)] for module in modules for p in module.parameters()}

    blocks = [block for i in range(1, 5) for block in getattr(model, f'layer{i}')]
    depths = [scales(model.conv1, model.bn1), *(scales(block) for block in blocks), scales(model.fc)]
    assert all(len(s) == 1 for s in depths)
    assert [s.pop() for s in depths] == [0.5 ** (len(blocks) + 1 - i) for i in range(len(blocks) + 2)]
    for block in blocks:
        assert scales(block.dual.unit1) == scales(block.dual.unit2) == scales(block)
    plain = create_optimizer_v2(model, opt='adamw', lr=0.1, weight_decay=0.05)
    assert {group.get('lr_scale', 1.0) for group in plain.param_groups} == {1.0}


@pytest.mark.parametrize('safe', [False, True])
def test_saved_for_the_hub_and_loaded_from_a_folder(safe, tmp_path):
    model = seen(global_pool='avgmax', in_chans=1)
    names = [f'class {i}' for i in range(NUM_CLASSES)]
    save_for_hf(
        model,
        tmp_path / 'hub',
        model_args=dict(global_pool='avgmax', in_chans=1),
        model_config=dict(label_names=names),
        safe_serialization=safe,
    )
    assert (tmp_path / 'hub' / 'model.safetensors').exists() == safe
    config, name, model_args = load_model_config_from_path(tmp_path / 'hub')
    assert name == SMALL
    assert config['num_classes'] == NUM_CLASSES
    assert config['label_names'] == names
    assert config['input_size'][0] == (1 if Version(timm.__version__) >= Version('1.0.31') else 3)  # timm's own fault
    assert model_args | dict(global_pool='avgmax', in_chans=1) == model_args
    loaded = timm.create_model(f'local-dir:{tmp_path / "hub"}', pretrained=True).eval()
    x = images(chans=1)
    assert torch.equal(loaded(x), model(x))
    # for other classes: the same features, a new classifier
    other = timm.create_model(f'local-dir:{tmp_path / "hub"}', pretrained=True, num_classes=3).eval()
    assert torch.equal(other.forward_features(x), model.forward_features(x))
    assert other(x).shape == (3, 3)


@pytest.fixture
def weights(tmp_path):
    """A network and a file of its weights."""
    model = seen()
    path = tmp_path / 'weights.pth'
    torch.save(model.state_dict(), path)
    return model, str(path)


def test_checkpoint_path(weights):
    model, path = weights
    x = images()
    loaded = timm.create_model(SMALL, num_classes=NUM_CLASSES, checkpoint_path=path).eval()
    assert torch.equal(loaded(x), model(x))
    with pytest.raises(RuntimeError, match=r'fc\.weight'):
        timm.create_model(SMALL, num_classes=NUM_CLASSES + 1, checkpoint_path=path)


def test_weights_of_ones_own_through_the_overlay(weights):
    model, path = weights
    overlay = dict(file=path, num_classes=NUM_CLASSES, mean=(0.1, 0.2, 0.3), input_size=(3, 96, 96))
    x = images()

    def create(**kwargs):
        return timm.create_model(SMALL, pretrained=True, pretrained_cfg_overlay=overlay, **kwargs).eval()

    loaded = create()
    assert torch.equal(loaded(x), model(x))
    config = resolve_model_data_config(loaded)
    assert config['mean'] == (0.1, 0.2, 0.3)
    assert config['input_size'] == (3, 96, 96)
    # other classes: the features stay, the classifier is new
    other = create(num_classes=3)
    assert torch.equal(other.forward_features(x), model.forward_features(x))
    assert other.fc.weight.shape[0] == 3
    # grey images: what the three channels do together
    grey = images(chans=1)
    one = create(in_chans=1)
    torch.testing.assert_close(one(grey), model(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    # features alone
    features = create(features_only=True)(x)
    torch.testing.assert_close(features[-1], model.forward_features(x))


def test_pretrained_weights_are_not_made_up():
    with pytest.raises(RuntimeError, match='No pretrained weights'):
        timm.create_model(SMALL, pretrained=True)


def test_averaged_weights():
    model = seen().train()
    ema = ModelEmaV3(model, decay=0.9)
    expected = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        nn.functional.cross_entropy(model(images(8, seed=step)), torch.arange(8) % NUM_CLASSES).backward()
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)
        for name, value in model.state_dict().items():
            expected[name] = 0.9 * expected[name] + 0.1 * value if value.is_floating_point() else value.clone()
    state = ema.module.state_dict()
    assert list(state) == list(model.state_dict())
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert not torch.allclose(state['fc.weight'], model.fc.weight)
    x = images()
    fused = reparameterize_model(ema.module)
    torch.testing.assert_close(fused(x), ema.module(x), rtol=0, atol=1e-5)
