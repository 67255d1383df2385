"""Weights of classes: a sample of weight 3 counts as three, in every term of every loss."""

import pytest
import timm.loss
import torch

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import CRITERIA, balanced_weights, create_loss

WEIGHTS = [1, 3, 2, 5]
TREE = ClassHierarchy([4, 4, 5, 5, 6, 6, -1])


def make(spec, **kwargs):
    kwargs |= dict(num_classes=4, feature_dim=8, center_weight=0.3) if 'center' in spec else {}
    kwargs |= dict(hierarchy=TREE) if 'tsl' in spec else {}
    return create_loss(spec, **kwargs)


def call(loss, output, target, features):
    return loss(output, target, features) if loss.needs_features else loss(output, target)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    features = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    return output, torch.tensor([0, 1, 2, 3, 1, 0]), features


@pytest.mark.parametrize('spec', CRITERIA)
def test_a_weight_is_a_number_of_repetitions(spec, batch):
    repeats = [WEIGHTS[y] for y in batch[1]]
    repeated = [torch.cat([t[i : i + 1].expand(n, *t.shape[1:]) for i, n in enumerate(repeats)]) for t in batch]
    # the mean of the terms that are means is still one over six samples; centers are a sum
    mean = {'base_weight': sum(repeats) / 6} | ({'tree_weight': sum(repeats) / 6} if 'tsl' in spec else {})
    scale = 1 if '+' in spec else sum(repeats) / 6
    expected = scale * call(make(spec, **(mean if '+' in spec else {})), *repeated)
    found = call(make(spec, class_weights=WEIGHTS), *batch)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert abs(found - call(make(spec), *batch)) > 0.1


@pytest.mark.parametrize('spec', CRITERIA)
def test_soft_labels_count_by_their_weights(spec, batch):
    """One sample at a time, in a loop; one-hot rows give what indices give."""
    output, target, features = batch
    labels = 0.7 * torch.nn.functional.one_hot(target, 4).double() + 0.3 * torch.eye(4)[target.flip(0)]
    loss, plain = make(spec, class_weights=WEIGHTS), make(spec)
    expected = 0.0
    for i in range(6):
        weight = sum(WEIGHTS[c] * labels[i, c] for c in range(4))
        one = output[i : i + 1], labels[i : i + 1], features[i : i + 1]
        terms = plain.terms(*one) if '+' in spec else {'base': plain(*one[:2])}
        factors = {'base': 1 / 6, 'tree': 1 / 6, 'center': 0.3}
        expected += weight * sum(factors[name] * term for name, term in terms.items())
        if 'center' in spec:
            plain.center.centers.zero_()
    torch.testing.assert_close(call(loss, output, labels, features), expected, rtol=1e-6, atol=0)
    one_hot = torch.nn.functional.one_hot(target, 4).double()
    torch.testing.assert_close(
        call(make(spec, class_weights=WEIGHTS), output, one_hot, features),
        call(make(spec, class_weights=WEIGHTS), output, target.to(torch.uint8), features),
    )


def test_balanced_weights():
    """Those of scikit-learn, and of timm up to a factor; every class then counts the same."""
    compute = pytest.importorskip('sklearn.utils.class_weight').compute_class_weight
    counts = [17, 3, 40]
    weights = balanced_weights(counts)
    target = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    expected = compute('balanced', classes=torch.arange(3).numpy(), y=target.numpy())
    torch.testing.assert_close(weights.double(), torch.from_numpy(expected), rtol=1e-6, atol=0)
    torch.testing.assert_close(weights * torch.tensor(counts), torch.full((3,), 20.0))
    if hasattr(timm.loss, 'compute_class_weights'):
        kind, timms = timm.loss.compute_class_weights(counts, 60, 'inv_freq')
        assert kind == 'class_weight'
        torch.testing.assert_close(timms / timms.sum(), weights / weights.sum())
    assert balanced_weights([4, 0]).tolist() == [0.5, 2.0]


def test_weights_move_and_stay_out_of_checkpoints():
    loss = create_loss('ce', class_weights=WEIGHTS)
    assert loss.to('meta').class_weights.device.type == 'meta'
    assert not loss.state_dict()
