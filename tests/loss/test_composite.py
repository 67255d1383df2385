import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import (
    CRITERIA,
    CenterLoss,
    CosineLoss,
    FocalCosineLoss,
    PositiveClassLoss,
    TreeSupervisionLoss,
    VIPriorsLoss,
    create_loss,
)

TREE = ClassHierarchy([4, 4, 5, 5, 6, 6, -1])
Z, Y, X = torch.randn(6, 4), torch.arange(6) % 4, torch.randn(6, 8)


def context(spec):
    kwargs = dict(num_classes=4, feature_dim=8) if 'center' in spec else {}
    return {**kwargs, 'hierarchy': TREE} if 'tsl' in spec else kwargs


def test_vipriors_loss_is_the_weighted_sum_of_its_terms():
    loss = VIPriorsLoss(4, 8, TREE)
    expected = PositiveClassLoss()(Z, Y) + 0.0005 * CenterLoss(4, 8)(None, Y, X) + TreeSupervisionLoss(TREE)(Z, Y)
    assert loss.needs_features
    terms = VIPriorsLoss(4, 8, TREE).terms(Z, Y, X)
    assert list(terms) == ['base', 'center', 'tree']
    torch.testing.assert_close(loss(Z, Y, X), expected)
    weighted = VIPriorsLoss(4, 8, TREE, pcl_weight=2.0, center_weight=3.0, tree_weight=5.0)
    torch.testing.assert_close(weighted(Z, Y, X), 2 * terms['base'] + 3 * terms['center'] + 5 * terms['tree'])


def test_a_weight_of_zero_leaves_the_term_out():
    assert list(VIPriorsLoss(4, 8, TREE, pcl_weight=0).terms(Z, Y, X)) == ['center', 'tree']
    without = VIPriorsLoss(4, 8, TREE, center_weight=0)
    assert list(without.terms(Z, Y)) == ['base', 'tree']
    assert not without.needs_features
    assert list(VIPriorsLoss(4, 8, TREE, tree_weight=0).terms(Z, Y, X)) == ['base', 'center']
    assert list(VIPriorsLoss(4).terms(Z, Y)) == ['base']
    with pytest.raises(ValueError, match=r'needs features: call loss\(output, target, features\)'):
        VIPriorsLoss(4, 8)(Z, Y)
    with pytest.raises(ValueError, match='the hierarchy has 4 classes, expected 5'):
        VIPriorsLoss(5, 8, TREE)


def test_gradients_reach_logits_and_features():
    z, x = Z.clone().requires_grad_(), X.clone().requires_grad_()
    loss = VIPriorsLoss(4, 8, TREE)
    loss(z, Y, x).backward()
    assert z.grad.abs().sum() > 0
    torch.testing.assert_close(x.grad, 0.0005 * X)  # centers start at zero
    assert loss.center.centers.abs().sum() > 0


@pytest.mark.parametrize('spec', CRITERIA)
def test_every_criterion_by_name(spec):
    loss = create_loss(spec, **context(spec))
    assert loss.needs_features is ('center' in spec)
    features = (X,) if loss.needs_features else ()
    soft = torch.softmax(torch.randn(6, 4), dim=1)
    for target in (Y, soft):
        assert loss(Z.clone().requires_grad_(), target, *features).requires_grad
    state = loss.state_dict()
    assert ('center.centers' in state) == ('center' in spec)
    assert ('tree.parents' in state) == ('tsl' in spec)


def test_names_give_the_losses_they_say():
    assert len(CRITERIA) == 16
    for spec, kind in (
        ('ce', nn.CrossEntropyLoss),
        ('cosine', CosineLoss),
        ('focal-cosine', FocalCosineLoss),
        ('pcl', PositiveClassLoss),
    ):
        assert isinstance(create_loss(spec), kind)
        composite = create_loss(f'{spec}+tsl', hierarchy=TREE)
        assert isinstance(composite.base, kind)
        assert isinstance(composite.tree, TreeSupervisionLoss)
        assert composite.center is None
    torch.testing.assert_close(
        create_loss('pcl+center+tsl', num_classes=4, feature_dim=8, hierarchy=TREE)(Z, Y, X),
        VIPriorsLoss(4, 8, TREE)(Z, Y, X),
    )


def test_arguments_reach_their_loss():
    loss = create_loss(
        'pcl+center+tsl',
        **dict(num_classes=4, feature_dim=8, hierarchy=TREE, cosine='logit', center_alpha=0.25, center_normalize=True),
        **dict(center_weight=0.1, tree_weight=0.2, base_weight=0.3, tree_mode='soft'),
    )
    assert (loss.base.cosine, loss.center.alpha, loss.center.normalize) == ('logit', 0.25, True)
    assert loss.tree.mode == 'soft'
    assert loss.weights == {'base': 0.3, 'center': 0.1, 'tree': 0.2}
    online = create_loss('ce+tsl', num_classes=4, tree_start_epoch=2, tree_update_every=3, steps_per_epoch=7).tree
    assert (online.start_epoch, online.update_every, online.steps_per_epoch) == (2, 3, 7)
    assert create_loss('focal-cosine', num_classes=4).head is not None
    assert create_loss('focal-cosine+center', num_classes=4, feature_dim=8).base.head is None


def test_cross_entropy_takes_both_kinds_of_target():
    loss = create_loss('ce')
    assert torch.equal(loss(Z, Y), F.cross_entropy(Z, Y))
    torch.testing.assert_close(loss(Z, F.one_hot(Y, 4).float()), F.cross_entropy(Z, Y))


def test_bad_names_and_arguments():
    for spec, kwargs, message in (
        ('focal', {}, r"unknown criterion 'focal': known are ce, cosine, focal-cosine, pcl, each also with \+center"),
        ('cosin', {}, "Did you mean 'cosine'"),
        ('tsl+pcl', {}, "unknown criterion 'tsl\\+pcl'"),
        ('cosine', dict(gamma=2), "'cosine' has no argument 'gamma'; it takes xent_weight, reduction"),
        ('focal-cosine', dict(reduction='some'), "got 'some'"),
        ('focal-cosine', dict(gamma='two'), "gamma must be a finite number, got 'two'"),
        ('pcl+center', dict(num_classes=4), "'pcl\\+center': .* missing .* 'feature_dim'"),
        ('pcl+tsl', {}, 'needs either a hierarchy, or num_classes and start_epoch to induce one online'),
        ('pcl+tsl', dict(hierarchy=TREE, center_weight=1), "no argument 'center_weight'"),
        ('pcl+tsl', dict(hierarchy=TREE, reduction='sum'), "no argument 'reduction'"),
    ):
        with pytest.raises(ValueError, match=message):
            create_loss(spec, **kwargs)


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('spec', ['ce', 'cosine', 'focal-cosine', 'pcl', 'pcl+center', 'pcl+center+tsl'])
def test_compiles_as_one_graph(spec, soft):
    """No break, no second compilation in the next step, and the same loss and gradient."""
    arguments = dict(num_classes=10, feature_dim=6, hierarchy=ClassHierarchy.induce(torch.eye(10)))
    wanted = {'center': ('num_classes', 'feature_dim'), 'tsl': ('num_classes', 'hierarchy')}
    kwargs = {name: arguments[name] for part in spec.split('+')[1:] for name in wanted[part]}
    losses = [create_loss(spec, **kwargs).train() for _ in range(2)]
    torch._dynamo.reset()
    counter = CompileCounterWithBackend('aot_eager')
    compiled = torch.compile(losses[0], backend=counter, fullgraph=True)
    for _ in range(3):
        logits, features = torch.randn(8, 10), torch.randn(8, 6)
        target = torch.randn(8, 10).softmax(1) if soft else torch.randint(10, (8,))
        values = []
        for loss, fn in ((losses[0], compiled), (losses[1], losses[1])):
            x = logits.clone().requires_grad_()
            value = fn(x, target, features) if loss.needs_features else fn(x, target)
            value.backward()
            values.append((value.detach(), x.grad))
        torch.testing.assert_close(values[0], values[1])
    assert counter.frame_count == 1
