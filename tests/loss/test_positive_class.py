"""The positive class loss against a float64 loop written from VIPF Eq. 5."""

import math

import pytest
import torch
import torch.nn.functional as F

from timm_vipriors.loss import PositiveClassLoss, positive_class_loss

from .targets import hard, label_rows, logits, soft


def reference(z, y, cosine, positive, smoothing=0.0):
    losses = []
    for row, label in zip(z.tolist(), label_rows(y, z.shape[1]), strict=True):
        if y.ndim == 1:
            label = [(1 - smoothing) * v + smoothing / len(row) for v in label]
        total = sum(math.exp(v) for v in row)
        p = [math.exp(v) / total for v in row]
        sigmoid = [1 / (1 + math.exp(-v)) for v in row]
        first = -sum(t * math.log(q) for t, q in zip(label, p if positive == 'ce' else sigmoid, strict=True))
        other = p if cosine == 'prob' else row
        dot = sum(a * b for a, b in zip(label, other, strict=True))
        cos = dot / math.sqrt(sum(v * v for v in label)) / math.sqrt(sum(v * v for v in other))
        losses.append(first + 1 - cos)
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize('target', [hard, soft])
@pytest.mark.parametrize('cosine', ['prob', 'logit'])
@pytest.mark.parametrize('positive', ['ce', 'bce'])
@pytest.mark.parametrize(('batch', 'classes'), [(1, 2), (4, 5), (2, 1000)])
def test_equals_the_equation(target, cosine, positive, batch, classes):
    z, y = logits(batch, classes), target(batch, classes)
    for smoothing in (0.0, 0.2):
        expected = reference(z, y, cosine, positive, smoothing)
        kwargs = dict(cosine=cosine, positive=positive, smoothing=smoothing)
        torch.testing.assert_close(positive_class_loss(z, y, **kwargs, reduction='none'), expected)
        torch.testing.assert_close(PositiveClassLoss(**kwargs)(z, y), expected.mean())
        torch.testing.assert_close(PositiveClassLoss(**kwargs, reduction='sum')(z, y), expected.sum())


def test_first_term_is_torchs():
    z, y = logits(), hard()
    cosine = 1 - F.cosine_similarity(F.one_hot(y, 5).double(), z.softmax(1)).mean()
    torch.testing.assert_close(PositiveClassLoss()(z, y), F.cross_entropy(z, y) + cosine)


@pytest.mark.parametrize('target', [hard, soft])
@pytest.mark.parametrize('kwargs', [dict(), dict(cosine='logit'), dict(positive='bce'), dict(smoothing=0.1)])
def test_gradcheck(target, kwargs):
    loss = PositiveClassLoss(**kwargs, reduction='none')
    assert torch.autograd.gradcheck(lambda z: loss(z, target()), (logits(requires_grad=True),))


@pytest.mark.parametrize('size', [0.0, 1e-20, 1e4, 1e30])
@pytest.mark.parametrize('kwargs', [dict(), dict(cosine='logit'), dict(positive='bce')])
def test_finite_for_large_logits(size, kwargs):
    z = (torch.tensor([[1.0, -0.5, 0.2], [0.0, 0.0, 1.0]]) * size).requires_grad_()
    loss = PositiveClassLoss(**kwargs)(z, torch.tensor([1, 2]))
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all() or (kwargs.get('cosine') == 'logit' and size < 1e-10)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    z = (logits() * 1000).to(dtype)
    with torch.autocast('cpu', dtype=dtype):
        loss = PositiveClassLoss()(z, hard())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, PositiveClassLoss()(z.float(), hard()))


def test_bad_arguments():
    for kwargs, message in (
        (dict(cosine='p'), "cosine must be one of 'prob', 'logit', got 'p'"),
        (dict(positive='x'), "positive must be one of 'ce', 'bce', got 'x'"),
        (dict(smoothing=1.5), 'smoothing must be in 0 … 1, got 1.5'),
    ):
        with pytest.raises(ValueError, match=message):
            PositiveClassLoss(**kwargs)
    with pytest.raises(ValueError, match="got 'p'"):
        positive_class_loss(logits(), hard(), cosine='p')
