"""The cosine losses against float64 loops written from their equations."""

import math

import pytest
import torch
import torch.nn.functional as F

from timm_vipriors.loss import CosineLoss, FocalCosineLoss, cosine_loss, focal_cosine_loss

from .targets import BAD, CLASSES, hard, label_rows, logits, soft


def reference(z, y, gamma, alpha, xent_weight, scale, head=None):
    """The loss of each sample by plain Python arithmetic."""
    losses = []
    for row, label in zip(z.tolist(), label_rows(y, z.shape[1]), strict=True):
        norm = math.sqrt(sum(v * v for v in row))
        direction = [v / norm for v in row]
        cos = sum(a * b for a, b in zip(direction, label, strict=True)) / math.sqrt(sum(v * v for v in label))
        scores = [scale * v for v in direction]
        if head is not None:
            weight, bias = head
            scores = [
                sum(w * s for w, s in zip(ws, scores, strict=True)) + b
                for ws, b in zip(weight.tolist(), bias.tolist(), strict=True)
            ]
        log_total = math.log(sum(math.exp(s) for s in scores))
        xent = -sum(t * (s - log_total) for t, s in zip(label, scores, strict=True))
        losses.append(1 - cos + xent_weight * alpha * (1 - math.exp(-xent)) ** gamma * xent)
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize('target', [hard, soft])
@pytest.mark.parametrize('classes', [2, 5, 1000])
@pytest.mark.parametrize('batch', [1, 4])
def test_losses_equal_their_equations(target, classes, batch):
    z, y = logits(batch, classes), target(batch, classes)
    torch.testing.assert_close(cosine_loss(z, y, xent_weight=0.3, reduction='none'), reference(z, y, 0, 1, 0.3, 1))
    torch.testing.assert_close(
        focal_cosine_loss(z, y, gamma=1.5, alpha=0.7, xent_weight=0.3, scale=4.0, reduction='none'),
        reference(z, y, 1.5, 0.7, 0.3, 4.0),
    )


@pytest.mark.parametrize('target', [hard, soft])
def test_reductions(target):
    z, y = logits(), target()
    for loss, expected in (
        (CosineLoss, reference(z, y, 0, 1, 0.1, 1)),
        (FocalCosineLoss, reference(z, y, 2, 1, 0.1, 1)),
    ):
        torch.testing.assert_close(loss()(z, y), expected.mean())
        torch.testing.assert_close(loss(reduction='sum')(z, y), expected.sum())
        torch.testing.assert_close(loss(reduction='none')(z, y), expected)


def test_parts_are_torchs_own():
    z, y = logits(), hard()
    cosine = F.cosine_embedding_loss(z, F.one_hot(y, CLASSES).double(), torch.ones(4))
    torch.testing.assert_close(cosine_loss(z, y, xent_weight=0.0), cosine)
    torch.testing.assert_close(cosine_loss(z, y) - cosine, 0.1 * F.cross_entropy(F.normalize(z), y))
    torch.testing.assert_close(
        cosine_loss(z, soft()) - cosine_loss(z, soft(), 0.0), 0.1 * F.cross_entropy(F.normalize(z), soft())
    )


def test_one_hot_soft_labels_are_hard_labels():
    z, y = logits(), hard()
    one_hot = F.one_hot(y, CLASSES).double()
    for loss in (CosineLoss(), FocalCosineLoss(gamma=0.5, scale=8.0)):
        torch.testing.assert_close(loss(z, one_hot), loss(z, y))


def test_every_option_does_something():
    z, y = logits(), hard()
    base = FocalCosineLoss()(z, y)
    for kwargs in (dict(gamma=1.0), dict(alpha=2.0), dict(xent_weight=1.0), dict(scale=5.0), dict(reduction='sum')):
        assert not torch.isclose(FocalCosineLoss(**kwargs)(z, y), base), kwargs
    assert not torch.isclose(CosineLoss(xent_weight=1.0)(z, y), CosineLoss()(z, y))
    torch.testing.assert_close(  # the minus that the paper prints
        FocalCosineLoss(xent_weight=-0.1, reduction='none')(z, y), reference(z, y, 2, 1, -0.1, 1)
    )


def test_learned_head():
    torch.manual_seed(0)
    loss = FocalCosineLoss(num_classes=CLASSES, scale=3.0, dtype=torch.float64)
    z, y = logits(), hard()
    torch.testing.assert_close(loss(z, y), FocalCosineLoss(scale=3.0)(z, y))  # it starts as the identity
    with torch.no_grad():
        loss.head.weight.normal_()
        loss.head.bias.normal_()
    expected = reference(z, y, 2, 1, 0.1, 3.0, head=(loss.head.weight, loss.head.bias))
    torch.testing.assert_close(loss(z, y), expected.mean())
    loss(z, y).backward()
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())
    assert {n for n, _ in loss.named_parameters()} == {'head.weight', 'head.bias'}


@pytest.mark.parametrize('target', [hard, soft])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_gradcheck(target, gamma):
    loss = FocalCosineLoss(gamma=gamma, scale=3.0, num_classes=CLASSES, reduction='none', dtype=torch.float64)
    z = logits(requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, *_: loss(z, target()), (z, *loss.parameters()))
    assert torch.autograd.gradcheck(lambda z: CosineLoss(reduction='none')(z, target()), (z,))


@pytest.mark.parametrize('size', [0.0, 1e-38, 1e-20, 1.0, 1e4, 1e20, 3e38])
@pytest.mark.parametrize('loss', [CosineLoss(), FocalCosineLoss(), FocalCosineLoss(gamma=0.5, scale=100.0)])
def test_finite_for_logits_of_any_size(loss, size):
    z = (torch.tensor([[1.0, -0.5, 0.2], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]) * size).requires_grad_()
    value = loss(z, torch.tensor([0, 1, 2]))
    value.backward()
    assert value.isfinite()
    if size >= 1e-20:  # the gradient is of the order of 1 / size
        assert z.grad.isfinite().all()
    if size:
        torch.testing.assert_close(value, loss(z.detach() / size, torch.tensor([0, 1, 2])))


def test_gradient_at_zero_logits_is_finite_and_points_to_the_class():
    z = torch.zeros(2, 3, requires_grad=True)
    FocalCosineLoss()(z, torch.tensor([0, 2])).backward()
    assert z.grad.isfinite().all()
    assert (z.grad.argmin(dim=1) == torch.tensor([0, 2])).all()
    assert z.grad.abs().max() < 1


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    loss = FocalCosineLoss(num_classes=CLASSES)
    z = (logits() * 1000).to(dtype)
    expected = loss(z.float(), hard())
    assert torch.equal(loss(z, hard()), expected)
    with torch.autocast('cpu', dtype=dtype):
        under = loss(z, hard())
    assert under.dtype == torch.float32
    assert torch.equal(under, expected)
    torch.testing.assert_close(loss(z, soft().to(dtype)), loss(z.float(), soft().float()), rtol=1e-2, atol=1e-2)


def test_compiles_without_graph_break():
    torch._dynamo.reset()
    loss = FocalCosineLoss(num_classes=CLASSES)
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    for y in (hard(), soft().float()):
        torch.testing.assert_close(compiled(logits().float(), y), loss(logits().float(), y))


@pytest.mark.parametrize(('z', 'y', 'message'), BAD)
def test_bad_input(z, y, message):
    """All losses share this check; test_extremes.py has one of these for each of them."""
    with pytest.raises(ValueError, match=message):
        CosineLoss()(z, y)


def test_bad_arguments():
    with pytest.raises(ValueError, match="one of 'mean', 'sum', 'none', got 'median'"):
        CosineLoss(reduction='median')
    with pytest.raises(ValueError, match="got 'median'"):
        cosine_loss(logits(), hard(), reduction='median')
    with pytest.raises(ValueError, match=r'gamma must be at least 0.0, got -1'):
        FocalCosineLoss(gamma=-1)
    with pytest.raises(ValueError, match=r'scale must be a finite number, got nan'):
        FocalCosineLoss(scale=float('nan'))
