"""Every loss with values at the ends of half types."""

import pytest
import torch

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import CRITERIA, create_loss


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', CRITERIA)
def test_every_loss_with_adversarial_values_in_low_precision(name, dtype):
    """Logits and features at the ends of the type, equal, zero and tiny: loss and gradients are finite."""
    largest = torch.finfo(dtype).max if dtype == torch.float16 else 1e4  # a sum of squares must fit float32
    kwargs = dict(num_classes=6, feature_dim=5) if 'center' in name else {}
    if 'tsl' in name:
        kwargs['hierarchy'] = ClassHierarchy([6, 6, 7, 7, 8, 8, 9, 9, 9, -1])
    for values in (
        torch.zeros(6),
        torch.full((6,), largest),
        torch.full((6,), -largest),
        torch.tensor([largest, -largest, 0, 1, -1, largest]),
        torch.full((6,), torch.finfo(dtype).tiny),
        torch.tensor([1e-3, -1e-3, 0, 0, 0, 0]),
    ):
        loss = create_loss(name, **kwargs)
        output = values.to(dtype).repeat(4, 1).requires_grad_()
        features = values[:5].to(dtype).repeat(4, 1).requires_grad_()
        for target in (torch.tensor([0, 1, 5, 5]), torch.full((4, 6), 1 / 6)):
            with torch.autocast('cpu', dtype):
                value = loss(output, target, features) if loss.needs_features else loss(output, target)
            value.backward()
            assert value.isfinite(), (values, value)
            assert output.grad is None or output.grad.isfinite().all(), values
            assert features.grad is None or features.grad.isfinite().all(), values
            output.grad = features.grad = None
