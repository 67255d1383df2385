"""Where a checkpoint says what: its model, its classes, its weights and its classifier."""

import argparse
import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from timm_vipriors.checkpoint import DESCRIPTION, Checkpoint, find_checkpoint
from timm_vipriors.hierarchy import ClassHierarchy

MODEL = 'test_dsk_resnext'


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return timm.create_model(MODEL, num_classes=7)


def saved(content, path):
    torch.save(content, path)
    return Checkpoint.read(path)


def test_the_folder_of_a_run_has_a_best_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match='has no checkpoint'):
        find_checkpoint(tmp_path)
    for name in ('model.safetensors', 'last.pth.tar', 'model_best.pth.tar'):  # the better one later
        (tmp_path / name).touch()
        assert find_checkpoint(tmp_path) == str(tmp_path / name)
    assert find_checkpoint(tmp_path / 'last.pth.tar') == str(tmp_path / 'last.pth.tar')
    with pytest.raises(FileNotFoundError, match='nowhere does not exist'):
        find_checkpoint(tmp_path / 'nowhere')


def test_a_description_wins_over_the_arguments_of_the_script(model, tmp_path):
    args = argparse.Namespace(model='resnet18', num_classes=3, img_size=64, mean=None, gp='')
    content = {'state_dict': model.state_dict(), 'arch': 'resnet18', 'args': args}
    checkpoint = saved(content, tmp_path / 'm.pth')
    assert (checkpoint.model, checkpoint.num_classes, checkpoint.class_names) == ('resnet18', 3, None)
    assert [checkpoint.get(key) for key in ('img_size', 'mean', 'gp', 'crop_pct')] == [64, None, None, None]
    about = {'model': MODEL, 'class_names': list('abcdefg'), 'input_size': [3, 32, 32]}
    checkpoint = saved({**content, DESCRIPTION: about}, tmp_path / 'm.pth')
    assert (checkpoint.model, checkpoint.num_classes, checkpoint.class_names) == (MODEL, 7, list('abcdefg'))
    assert (checkpoint.get('input_size'), checkpoint.get('img_size')) == ([3, 32, 32], 64)


def test_values_of_a_wrong_type(tmp_path):
    checkpoint = saved({DESCRIPTION: {'input_size': 3, 'class_names': 'abc'}}, tmp_path / 'm.pth')
    for key in ('input_size', 'class_names'):
        with pytest.raises(ValueError, match=f'says {key} = .*wrong type'):
            checkpoint.get(key)
    assert saved({DESCRIPTION: 3, 'args': 4}, tmp_path / 'm.pth').description == {}


def test_a_hub_folder_says_it_in_its_config(model, tmp_path):
    save_file(model.state_dict(), tmp_path / 'model.safetensors')
    cfg = {'input_size': [3, 40, 40], 'crop_pct': 0.8, 'mean': [0.5] * 3}
    new = {'architecture': MODEL, 'num_classes': 7, 'label_names': list('abcdefg'), 'model_args': {'x': 1}}
    for config in ({**new, 'pretrained_cfg': cfg}, {**new, **cfg}):
        (tmp_path / 'config.json').write_text(json.dumps(config))
        checkpoint = Checkpoint.read(tmp_path)
        assert (checkpoint.model, checkpoint.class_names) == (MODEL, list('abcdefg'))
        assert [checkpoint.get(key) for key in cfg] == list(cfg.values())
        assert checkpoint.get('model_kwargs') == {'x': 1}
    for text in ('{', '[1]', '{"pretrained_cfg": [1]}', '"x"'):
        (tmp_path / 'config.json').write_text(text)
        with pytest.raises(ValueError, match=r'config\.json is not'):
            Checkpoint.read(tmp_path)


def test_averaged_weights(model, tmp_path):
    content = {'state_dict': model.state_dict()}
    with pytest.raises(ValueError, match='no averaged weights'):
        saved(content, tmp_path / 'm.pth').classifier_weight(use_ema=True)
    content['state_dict_ema'] = {'fc.weight': torch.ones(7, 3)}
    assert saved(content, tmp_path / 'm.pth').classifier_weight(use_ema=True).tolist() == [[1] * 3] * 7
    assert saved(content, tmp_path / 'm.pth').classifier_weight().tolist() == [[1] * 3] * 7
    assert torch.equal(saved(content, tmp_path / 'm.pth').classifier_weight(use_ema=False), model.fc.weight)


@pytest.mark.parametrize('known', [True, False])
@pytest.mark.parametrize('prefix', ['', 'module.', 'model.', 'net._orig_mod.'])
@pytest.mark.parametrize('arch', ['test_convnext', 'test_vit', 'test_efficientnet', 'test_nfnet', MODEL])
def test_classifiers_of_all_kinds_of_models(arch, prefix, known, tmp_path):
    model = timm.create_model(arch, num_classes=6)
    torch.nn.init.normal_(model.get_classifier().weight)
    state = {f'{prefix}{key}': value for key, value in model.state_dict().items()}
    state |= {} if prefix in ('', 'module.') else {'criterion.fc.weight': torch.zeros(3, 3)}
    checkpoint = saved({'state_dict': state, 'arch': f'{arch}.some_tag' if known else 'mine'}, tmp_path / 'm.pth')
    assert torch.equal(checkpoint.classifier_weight(), model.get_classifier().weight)
    assert checkpoint.state_dict().keys() == model.state_dict().keys()
    assert checkpoint.num_classes == 6


def test_keys_in_alphabetical_order(tmp_path):
    """As safetensors has them, so that the last layer is not the last key."""
    model = timm.create_model('test_vit', num_classes=6)
    save_file(model.state_dict(), tmp_path / 'm.safetensors')
    assert Checkpoint.read(tmp_path / 'm.safetensors').num_classes == 6


def test_arch_says_which_layer_it_is(tmp_path):
    right, wrong = torch.randn(5, 8), torch.randn(5, 8)
    state = {'head.fc.weight': wrong, 'fc.weight': right}
    for arch, expected in ((MODEL, right), ('unknown', wrong)):
        checkpoint = saved({'state_dict': state, 'arch': arch}, tmp_path / 'm.pth')
        assert torch.equal(checkpoint.classifier_weight(), expected)
    state = {'head.weight': right, 'head_dist.weight': wrong}  # a record with two classifiers: the first one
    checkpoint = saved({'state_dict': state, 'arch': 'deit_tiny_distilled_patch16_224'}, tmp_path / 'm.pth')
    assert torch.equal(checkpoint.classifier_weight(), right)


def test_convolution_as_classifier(tmp_path):
    weight = torch.randn(5, 8, 1, 1)
    checkpoint = saved({'classifier.weight': weight}, tmp_path / 'm.pth')
    assert torch.equal(checkpoint.classifier_weight(), weight[:, :, 0, 0])
    assert ClassHierarchy.from_checkpoint(tmp_path / 'm.pth') == ClassHierarchy.induce(weight[:, :, 0, 0])


@pytest.mark.parametrize(
    'content',
    [
        {'body.weight': torch.ones(3, 3)},
        {'fc.weight': torch.ones(3, 3, 2, 2)},
        {'fc.weight': torch.ones(3)},
        {'state_dict': {}},
        [torch.ones(2, 2)],
    ],
)
def test_no_classifier(content, tmp_path):
    checkpoint = saved(content, tmp_path / 'm.pth')
    assert checkpoint.num_classes is None
    with pytest.raises(ValueError, match=r'm\.pth has no classifier'):
        checkpoint.classifier_weight()
    with pytest.raises(ValueError, match=r'm\.pth has no classifier'):
        ClassHierarchy.from_checkpoint(tmp_path / 'm.pth')


def test_weights_under_another_key(model, tmp_path):
    checkpoint = saved({'model': model.state_dict(), 'optimizer': {}}, tmp_path / 'm.pth')
    assert checkpoint.state_dict().keys() == model.state_dict().keys()
    assert (checkpoint.num_classes, checkpoint.model) == (7, None)


def test_no_weights(tmp_path):
    with pytest.raises(ValueError, match='has no weights'):
        saved({'state_dict': 1}, tmp_path / 'm.pth').state_dict()
