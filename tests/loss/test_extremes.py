"""Every loss with targets of all integer types, and with values at the ends of float32."""

import pytest
import torch

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import (
    CenterLoss,
    CompositeLoss,
    CosineLoss,
    FocalCosineLoss,
    PositiveClassLoss,
    TreeSupervisionLoss,
    create_loss,
)

TREE = ClassHierarchy([3, 3, 4, 4, -1])
LARGEST = torch.finfo(torch.float32).max
LOSSES = {
    'ce': create_loss('ce'),
    'ce smoothed': create_loss('ce', label_smoothing=0.1),
    'cosine': CosineLoss(),
    'focal-cosine': FocalCosineLoss(),
    'focal-cosine, large scale': FocalCosineLoss(scale=LARGEST),
    'focal-cosine, tiny gamma': FocalCosineLoss(gamma=1e-30),
    'focal-cosine, large gamma': FocalCosineLoss(gamma=LARGEST),
    'pcl': PositiveClassLoss(),
    'pcl, logit, bce': PositiveClassLoss('logit', 'bce', smoothing=0.5),
    'tsl, path': TreeSupervisionLoss(TREE),
    'tsl, soft': TreeSupervisionLoss(TREE, 'soft'),
    'center': CenterLoss(3, 3).eval(),
}
SOFT = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])


def call(loss, x, target):
    return loss(x, target, x) if loss.needs_features else loss(x, target)


@pytest.mark.parametrize('name', LOSSES)
def test_class_indices_of_any_integer_type(name):
    loss, x, target = LOSSES[name], torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    expected = call(loss, x, target)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        assert torch.equal(call(loss, x, target.to(dtype)), expected), dtype
    with pytest.raises(ValueError, match=r'must be integer class indices, got torch\.bool'):
        call(loss, x, target.bool())


def test_centers_of_small_integers_move_as_those_of_int64():
    x, centers = torch.randn(4, 3), []
    for dtype in (torch.int64, torch.uint8, torch.int32):
        loss = CenterLoss(3, 3)
        loss(None, torch.tensor([0, 1, 2, 1], dtype=dtype), x)
        centers.append(loss.centers)
    assert centers[0].any()
    assert torch.equal(centers[0], centers[1])
    assert torch.equal(centers[0], centers[2])


@pytest.mark.parametrize('name', [name for name in LOSSES if name != 'center'])  # whose squares are no float32
@pytest.mark.parametrize('target', [torch.tensor([0, 1, 2, 2]), SOFT], ids=['hard', 'soft'])
def test_finite_at_the_ends_of_float32(name, target):
    for row in (
        [LARGEST, -LARGEST, LARGEST],
        [-LARGEST, LARGEST, 0.0],
        [-LARGEST, -LARGEST, -LARGEST],
        [0.0, 0.0, 0.0],
        [1e-45, 0.0, 0.0],
    ):
        z = torch.tensor([row] * 4).requires_grad_()
        loss = LOSSES[name](z, target)
        loss.backward()
        assert loss.isfinite(), row
        assert z.grad.isfinite().all(), row


@pytest.mark.parametrize('name', [name for name in LOSSES if name != 'center'])
@pytest.mark.parametrize('value', [float('inf'), float('nan')])
def test_logits_that_are_not_finite_are_not_hidden(name, value):
    assert not LOSSES[name](torch.tensor([[value, 0.0, 1.0]]), torch.tensor([1])).isfinite()


def test_a_feature_that_is_not_finite_leaves_the_center():
    loss = CenterLoss(3, 3)
    x = torch.randn(4, 3)
    x[0, 0] = float('nan')
    assert loss(None, torch.tensor([0, 1, 2, 0]), x).isnan()
    assert loss.centers.isfinite().all()
    assert loss.centers[1].any()
    assert loss(None, torch.tensor([0, 1, 2, 0]), torch.randn(4, 3)).isfinite()


@pytest.mark.parametrize(
    ('make', 'name'),
    [
        (lambda value: CosineLoss(xent_weight=value), 'xent_weight'),
        (lambda value: FocalCosineLoss(alpha=value), 'alpha'),
        (lambda value: FocalCosineLoss(scale=value), 'scale'),
        (lambda value: CompositeLoss(CosineLoss(), tree_weight=value), 'tree_weight'),
    ],
)
@pytest.mark.parametrize('value', [float('nan'), float('inf'), 1e308, '1'])
def test_weights_that_float32_does_not_have(make, name, value):
    with pytest.raises(ValueError, match=f'{name} must be a finite number'):
        make(value)
