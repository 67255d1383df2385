"""The loss of --criterion, from the flags to the module."""

import pytest
import torch

from timm_vipriors.errors import UserError
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.scripts.loss_spec import LossSpec

from .parsing import parse


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ClassHierarchy.from_groups({'cat': ['animal'], 'dog': ['animal'], 'car': [], 'bus': []}).save('tree.json')


@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('--criterion focal', "unknown criterion 'focal': known are ce, cosine, focal-cosine"),
        ('--criterion-kwargs gamma=2', '--criterion-kwargs and --hierarchy need a --criterion'),
        ('--hierarchy tree.json', '--criterion-kwargs and --hierarchy need a --criterion'),
        ('--criterion cosine --criterion-kwargs gamma=2', 'it takes xent_weight'),
        ('--criterion pcl --hierarchy tree.json', "criterion 'pcl' has no argument 'hierarchy'"),
        ('--criterion pcl+tsl', '--criterion pcl+tsl needs a tree: --hierarchy FILE'),
        ('--criterion pcl+tsl --hierarchy nowhere.json', 'nowhere.json'),
        ('--criterion pcl+tsl --hierarchy junk.json', 'junk.json'),
    ],
)
def test_flags_that_make_no_loss(tree, tmp_path, line, sentence):
    (tmp_path / 'junk.json').write_text('{')
    with pytest.raises((UserError, ValueError, OSError)) as e:
        LossSpec.from_flags(parse(f'DATA {line}'))
    assert sentence in str(e.value)


def test_arguments_that_are_none(capsys):
    with pytest.raises(SystemExit):
        parse('DATA --criterion cosine --criterion-kwargs gamma')
    assert "expected key=value, got 'gamma'" in capsys.readouterr().err


def test_no_criterion():
    assert LossSpec.from_flags(parse('DATA')) is None


def test_sizes_come_from_the_model_and_arguments_from_the_flags():
    spec = LossSpec.from_flags(parse('DATA --criterion pcl+center --criterion-kwargs center_weight=0.1'))
    loss = spec.build(num_classes=7, feature_dim=5, batch_size=24)
    assert loss.center.batch_size == 24
    assert loss.center.centers.shape == (7, 5)
    assert loss.weights['center'] == 0.1
    with pytest.raises(ValueError, match='gamma must be'):
        LossSpec('focal-cosine', {'gamma': -1}).build(7, 5)


def test_the_trees_leaves_go_by_name_and_not_by_position(tree):
    spec = LossSpec.from_flags(parse('DATA --criterion ce+tsl --hierarchy tree.json'))
    names = ['bus', 'car', 'cat', 'dog']
    loss = spec.build(4, 8, names)
    parents = loss.tree.parents.tolist()
    assert parents[names.index('cat')] == parents[names.index('dog')] != parents[names.index('car')]
    expected = ClassHierarchy.from_groups({'bus': [], 'car': [], 'cat': ['animal'], 'dog': ['animal']})
    output, target = torch.randn(6, 4), torch.arange(6) % 4
    assert torch.equal(loss.tree(output, target), type(loss.tree)(expected)(output, target))
    with pytest.raises(ValueError, match='horse'):
        spec.build(4, 8, ['bus', 'car', 'cat', 'horse'])


def test_balanced_classes():
    """By the number of images of each class; without a --criterion the loss is cross-entropy, as the script's own."""
    spec = LossSpec.from_flags(parse('DATA --class-weights balanced'))
    loss = spec.build(2, 5, class_counts=[30, 10])
    assert loss.class_weights.tolist() == pytest.approx([2 / 3, 2])
    output = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert loss(output, torch.tensor([0, 1])).item() == pytest.approx((2 / 3 + 2) / 2 * 0.6931, abs=1e-4)
    spec = LossSpec.from_flags(parse('DATA --criterion pcl+center --class-weights balanced'))
    loss = spec.build(2, 5, class_counts=[30, 10])
    assert loss.base.class_weights.tolist() == loss.center.class_weights.tolist() == pytest.approx([2 / 3, 2])
