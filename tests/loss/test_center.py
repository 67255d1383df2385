"""The center loss against loops written from VIPF Eq. 6 and Wen's rule."""

import pytest
import torch
from torch import nn

from timm_vipriors.loss import CenterLoss, center_loss

from .targets import hard, soft

DIM = 3


def features(batch=4, seed=3, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, DIM, generator=generator, dtype=torch.float64, **kwargs)


def make(classes=5, **kwargs):
    loss = CenterLoss(classes, DIM, **{'dtype': torch.float64, **kwargs})
    loss.centers.copy_(torch.randn(classes, DIM, generator=torch.Generator().manual_seed(7), dtype=torch.float64))
    return loss


def weights(y, classes):
    return y if y.ndim == 2 else nn.functional.one_hot(y, classes).double()


def reference(x, y, centers):
    """½ Σ_j l_j ‖x − c_j‖² of each sample."""
    rows = []
    for i in range(len(x)):
        row = sum(
            weights(y, len(centers))[i, j] * sum((x[i, d] - centers[j, d]) ** 2 for d in range(DIM))
            for j in range(len(centers))
        )
        rows.append(0.5 * row)
    return torch.stack(rows)


def updated(x, y, centers, alpha):
    """Wen's rule by loops."""
    centers = centers.clone()
    share = weights(y, len(centers))
    for j in range(len(centers)):
        pull = sum(share[i, j] * (centers[j] - x[i]) for i in range(len(x)))
        centers[j] -= alpha * pull / (1 + share[:, j].sum())
    return centers


@pytest.mark.parametrize('target', [hard, soft])
@pytest.mark.parametrize(('batch', 'classes'), [(1, 2), (4, 5), (3, 50)])
def test_equals_the_equation_and_the_rule(target, batch, classes):
    x, y = features(batch), target(batch, classes)
    for reduction, of in (('none', lambda v: v), ('sum', torch.sum), ('mean', torch.mean)):
        loss = make(classes, reduction=reduction, alpha=0.3)
        before = loss.centers.clone()
        value = loss(None, y, x)
        torch.testing.assert_close(value, of(reference(x, y, before)))
        torch.testing.assert_close(loss.centers, updated(x, y, before, 0.3))


def test_three_steps_by_hand():
    loss = CenterLoss(2, 1)
    y = torch.tensor([0, 0, 1])
    x = torch.tensor([[2.0], [4.0], [-3.0]])
    # c starts at 0; c_0 moves by α (6 − 2 c_0) / 3 and c_1 by α (−3 − c_1) / 2, α = ½
    for value, centers in (
        (0.5 * (4 + 16 + 9), [1.0, -0.75]),
        (0.5 * (1 + 9 + 2.25**2), [5 / 3, -1.3125]),
        (0.5 * (1 / 9 + (7 / 3) ** 2 + 1.6875**2), [19 / 9, -1.734375]),
    ):
        torch.testing.assert_close(loss(torch.zeros(3, 2), y, x), torch.tensor(value))
        torch.testing.assert_close(loss.centers, torch.tensor(centers).unsqueeze(1))


def test_a_class_that_is_not_in_the_batch_keeps_its_center():
    loss = make()
    before = loss.centers.clone()
    loss(None, torch.tensor([1, 1, 3, 3]), features())
    changed = (loss.centers != before).any(dim=1)
    assert changed.tolist() == [False, True, False, True, False]


def test_centers_stay_in_eval_without_grad_and_under_the_optimizer():
    loss = make()
    before = loss.centers.clone()
    assert not list(loss.parameters())
    with torch.no_grad():
        loss(None, hard(), features())
    assert torch.equal(loss.centers, before)
    x = features(requires_grad=True)
    loss.eval()(None, hard(), x).backward()
    assert torch.equal(loss.centers, before)
    assert loss.centers.grad is None
    torch.testing.assert_close(x.grad, (x - before[hard()]).detach())
    loss.train()(None, hard(), x)
    assert not torch.equal(loss.centers, before)


@pytest.mark.parametrize('target', [hard, soft])
@pytest.mark.parametrize('normalize', [False, True])
def test_gradcheck(target, normalize):
    loss = make(reduction='none', normalize=normalize).eval()
    assert torch.autograd.gradcheck(lambda x: loss(None, target(), x), (features(requires_grad=True),))


def test_normalize():
    loss = make(normalize=True, reduction='none')
    before = loss.centers.clone()
    x = features() * 1e20
    unit = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(loss(None, hard(), x), reference(unit, hard(), before))
    torch.testing.assert_close(loss.centers, updated(unit, hard(), before, 0.5))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    loss = CenterLoss(5, DIM)
    x = (features() * 300).to(dtype)
    with torch.autocast('cpu', dtype=dtype):
        value = loss(None, soft().to(dtype), x)
    assert value.dtype == loss.centers.dtype == torch.float32
    assert value.isfinite()
    assert value > 60000 or dtype == torch.bfloat16


def test_with_a_batch_size_the_cut_of_a_batch_changes_nothing():
    """Gradients of parts are averaged, over the steps of an accumulation and over the ranks of DDP."""
    x, y = features(8), hard(8)
    grads = {}
    for parts in (1, 2, 8):
        whole = x.clone().requires_grad_()
        loss = make(batch_size=8, alpha=0.0)
        for part, target in zip(whole.chunk(parts), y.chunk(parts), strict=True):
            (loss(None, target, part) / parts).backward()
        grads[parts] = whole.grad
    torch.testing.assert_close(grads[2], grads[1])
    torch.testing.assert_close(grads[8], grads[1])
    torch.testing.assert_close(grads[1], x - make().centers[y])  # those of the paper's sum
    torch.testing.assert_close(make(batch_size=8)(None, soft(8), x), make()(None, soft(8), x))


def test_no_tensor_of_batch_by_classes_by_dimension():
    from torch.utils._python_dispatch import TorchDispatchMode

    batch, classes, dim = 16, 50, 40
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    loss = CenterLoss(classes, dim)
    x = torch.randn(batch, dim, requires_grad=True)
    with Watch():
        loss(None, torch.full((batch, classes), 1 / classes), x).backward()
        loss(None, torch.arange(batch), x).backward()
    assert 0 < largest <= classes * dim


def test_state_dict_holds_the_centers():
    loss = make()
    other = CenterLoss(5, DIM, dtype=torch.float64)
    other.load_state_dict(loss.state_dict())
    assert list(loss.state_dict()) == ['centers']
    assert torch.equal(other.centers, loss.centers)


def _two_ranks(rank, path, runs):
    torch.distributed.init_process_group('gloo', init_method=f'file://{path}/rendezvous', rank=rank, world_size=2)
    half = [slice(0, 3), slice(3, None)][rank]  # uneven: 3 and 5
    centers = []
    for batches in runs:
        loss = CenterLoss(5, DIM, dtype=torch.float64)
        for x, y in batches:
            loss(None, y[half], x[half])
        centers.append(loss.centers)
    torch.save(centers, f'{path}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_keep_equal_centers(tmp_path):
    runs = [[(features(8, seed=s), target(8)) for s in range(3)] for target in (hard, soft)]
    torch.multiprocessing.spawn(_two_ranks, (str(tmp_path), runs), nprocs=2)
    for a, b, batches in zip(*(torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)), runs, strict=True):
        assert torch.equal(a, b)
        whole = CenterLoss(5, DIM, dtype=torch.float64)
        for x, y in batches:
            whole(None, y, x)
        torch.testing.assert_close(a, whole.centers)


@pytest.mark.parametrize(
    ('y', 'x', 'message'),
    [
        (hard(), features()[:, :2], r'features must be of shape \(B, 3\), got \(4, 2\)'),
        (hard(), features()[0], r'features must be of shape \(B, 3\), got \(3,\)'),
        (torch.tensor([0, 1, 2, 5]), features(), r'in 0 … 4 for 5 logits, got 5'),
    ],
)
def test_bad_input(y, x, message):
    with pytest.raises(ValueError, match=message):
        make()(None, y, x)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r'logits of shape \(4, 5\), got \(4, 6\)'):
        make()(torch.zeros(4, 6), hard(), features())
    with pytest.raises(ValueError, match=r'alpha must be in 0 … 1, got 2'):
        CenterLoss(2, 2, alpha=2)
    for kwargs in (dict(batch_size=0), dict(batch_size=4, reduction='mean')):
        with pytest.raises(ValueError, match="batch_size must be at least 1 and is for reduction='sum'"):
            CenterLoss(2, 2, **kwargs)
    assert center_loss(features(), hard(), make().centers).ndim == 0
