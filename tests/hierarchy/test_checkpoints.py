"""Trees induced from the classifier in a checkpoint."""

import argparse
import copy

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils import CheckpointSaver

from timm_vipriors.hierarchy import ClassHierarchy


def test_training_checkpoint_and_its_average(model, tmp_path):
    ema = copy.deepcopy(model)
    torch.nn.init.normal_(ema.fc.weight)
    args = argparse.Namespace(model='test_dsk_resnext', num_classes=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    saver = CheckpointSaver(model, optimizer, args, checkpoint_dir=str(tmp_path), unwrap_fn=lambda m: m)
    saver.save_checkpoint(0)
    path = tmp_path / 'last.pth.tar'
    expected = ClassHierarchy.induce(model.fc.weight)
    assert ClassHierarchy.from_checkpoint(path) == expected
    assert ClassHierarchy.from_checkpoint(str(path), list('abcdefg')).class_names == tuple('abcdefg')
    with pytest.raises(ValueError, match='no averaged weights'):
        ClassHierarchy.from_checkpoint(path, use_ema=True)

    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, 'state_dict_ema': ema.state_dict()}, path)
    averaged = ClassHierarchy.induce(ema.fc.weight)
    assert averaged != expected
    assert ClassHierarchy.from_checkpoint(path, use_ema=False) == expected
    assert ClassHierarchy.from_checkpoint(path, use_ema=True) == averaged
    assert ClassHierarchy.from_checkpoint(path) == averaged


def test_bare_state_dicts(model, tmp_path):
    expected = ClassHierarchy.induce(model.fc.weight)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    torch.save({f'module.{k}': v for k, v in model.state_dict().items()}, tmp_path / 'b.pth')
    save_file(model.state_dict(), tmp_path / 'c.safetensors')
    for name in ('a.pth', 'b.pth', 'c.safetensors'):
        assert ClassHierarchy.from_checkpoint(tmp_path / name) == expected


def test_names_come_from_the_checkpoint_that_says_them(model, tmp_path):
    names = list('gfedcba')
    torch.save({'state_dict': model.state_dict(), 'timm_vipriors': {'class_names': names}}, tmp_path / 'last.pth.tar')
    tree = ClassHierarchy.from_checkpoint(tmp_path)  # the folder of a run
    assert tree == ClassHierarchy.induce(model.fc.weight, names)
    assert ClassHierarchy.from_checkpoint(tmp_path, names) == tree
    for other, message in (
        (sorted(names), 'the same names in another order'),
        ([*names[:-1], 'x'], "missing are 'a', not known are 'x'"),
    ):
        with pytest.raises(ValueError, match=rf'not those of .*last\.pth\.tar: .*{message}'):
            ClassHierarchy.from_checkpoint(tmp_path, other)


@pytest.mark.parametrize('arch', ['test_dsk_resnext', None])
def test_weights_in_any_order_and_with_prefixes(model, tmp_path, arch):
    """The classifier is found by its name, not as the first matrix: safetensors sorts its keys."""
    expected = ClassHierarchy.induce(model.fc.weight)
    state = dict(
        sorted(model.state_dict().items(), key=lambda item: item[0] != 'layer1.0.dual.unit1.conv1.conv.weight')
    )
    save_file(state, tmp_path / 'sorted.safetensors')
    assert ClassHierarchy.from_checkpoint(tmp_path / 'sorted.safetensors') == expected
    for prefix in ('module.', '_orig_mod.', 'module._orig_mod.'):
        content = {'state_dict': {f'{prefix}{key}': value for key, value in state.items()}}
        torch.save({**content, 'arch': arch} if arch else content, tmp_path / 'm.pth')
        assert ClassHierarchy.from_checkpoint(tmp_path / 'm.pth') == expected, prefix


@pytest.mark.parametrize('known', [True, False])
@pytest.mark.parametrize(
    ('arch', 'key'),
    [
        ('test_convnext', 'head.fc'),
        ('test_vit', 'head'),
        ('test_efficientnet', 'classifier'),
        ('test_nfnet', 'head.fc'),
    ],
)
def test_classifiers_of_other_models(arch, key, known, tmp_path):
    model = timm.create_model(arch, num_classes=6)
    torch.nn.init.normal_(model.get_classifier().weight)
    torch.save({'state_dict': model.state_dict(), 'arch': f'{arch}.some_tag' if known else 'mine'}, tmp_path / 'm.pth')
    assert f'{key}.weight' in model.state_dict()
    expected = ClassHierarchy.induce(model.get_classifier().weight)
    assert ClassHierarchy.from_checkpoint(tmp_path / 'm.pth') == expected


def test_arch_says_which_layer_it_is(tmp_path):
    right, wrong = torch.randn(5, 8), torch.randn(5, 8)
    state = {'head.fc.weight': wrong, 'fc.weight': right}
    torch.save({'state_dict': state, 'arch': 'test_dsk_resnext'}, tmp_path / 'm.pth')
    assert ClassHierarchy.from_checkpoint(tmp_path / 'm.pth') == ClassHierarchy.induce(right)
    torch.save({'state_dict': state, 'arch': 'unknown'}, tmp_path / 'm.pth')
    assert ClassHierarchy.from_checkpoint(tmp_path / 'm.pth') == ClassHierarchy.induce(wrong)
    state = {'head.weight': right, 'head_dist.weight': wrong}  # a record with two classifiers: the first one
    torch.save({'state_dict': state, 'arch': 'deit_tiny_distilled_patch16_224'}, tmp_path / 'm.pth')
    assert ClassHierarchy.from_checkpoint(tmp_path / 'm.pth') == ClassHierarchy.induce(right)


class Harmful:
    def __reduce__(self):
        return print, ('code from a checkpoint was run',)


@pytest.mark.parametrize('name', ['m.pth', 'm.safetensors'])
def test_no_checkpoint(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b'nonsense')
    with pytest.raises(ValueError, match='is not a checkpoint'):
        ClassHierarchy.from_checkpoint(tmp_path / name)
    torch.save({'state_dict': {'fc.weight': torch.ones(2, 2)}, 'x': Harmful()}, tmp_path / name)
    with pytest.raises(ValueError, match='is not a checkpoint'):
        ClassHierarchy.from_checkpoint(tmp_path / name)
    assert capsys.readouterr().out == ''
    with pytest.raises(FileNotFoundError):
        ClassHierarchy.from_checkpoint(tmp_path / f'no-{name}')
