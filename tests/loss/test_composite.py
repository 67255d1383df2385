import pytest
import torch
import torch.nn.functional as F

from timm_vipriors.loss import CRITERIA, CosineLoss, FocalCosineLoss, create_loss


@pytest.mark.parametrize(('spec', 'kind'), [('cosine', CosineLoss), ('focal-cosine', FocalCosineLoss)])
def test_losses_by_name(spec, kind):
    loss = create_loss(spec, xent_weight=0.7)
    assert type(loss) is kind
    assert loss.xent_weight == 0.7


def test_cross_entropy_takes_both_kinds_of_target():
    z, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    loss = create_loss('ce')
    assert torch.equal(loss(z, y), F.cross_entropy(z, y))
    torch.testing.assert_close(loss(z, F.one_hot(y, 3).float()), F.cross_entropy(z, y))


def test_every_criterion_is_a_loss_that_says_whether_it_needs_features():
    assert len(CRITERIA) == 3
    for spec in CRITERIA:
        loss = create_loss(spec)
        assert loss.needs_features is False
        assert loss(torch.randn(2, 3, requires_grad=True), torch.tensor([0, 1])).requires_grad


def test_bad_names_and_arguments():
    with pytest.raises(ValueError, match=r"unknown criterion 'focal': known are ce, cosine, focal-cosine"):
        create_loss('focal')
    with pytest.raises(ValueError, match="Did you mean 'cosine'"):
        create_loss('cosin')
    with pytest.raises(ValueError, match="'cosine' has no argument 'gamma'; it takes xent_weight, reduction"):
        create_loss('cosine', gamma=2)
    with pytest.raises(ValueError, match="got 'some'"):
        create_loss('focal-cosine', reduction='some')
    with pytest.raises(ValueError, match="'focal-cosine'"):
        create_loss('focal-cosine', gamma='two')
