"""Grad-CAM against the formulas of the paper, one after the other."""

import pytest
import timm
import torch

from timm_vipriors.inference.grad_cam import grad_cam


@pytest.mark.parametrize('name', ['test_resnet', 'test_dsk_resnext', 'test_efficientnet'])
def test_it_is_the_formula(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    images, classes = torch.randn(2, 3, 128, 128), torch.tensor([2, 0])
    maps, logits = grad_cam(model, images, classes)
    torch.testing.assert_close(logits, model(images))
    kept = []
    last = model.feature_info[-1]['module']
    hook = model.get_submodule(last).register_forward_hook(lambda *call: kept.append(call[2]))
    for i in range(2):
        image = images[i : i + 1].clone().requires_grad_()
        score = model(image)[0, classes[i]]
        activation = kept[-1]
        gradient = torch.autograd.grad(score, activation)[0][0]
        wanted = torch.zeros(activation.shape[2:])
        for k in range(activation.shape[1]):
            wanted += gradient[k].mean() * activation[0, k].detach()
        torch.testing.assert_close(maps[i], wanted.clamp(min=0), rtol=1e-4, atol=1e-7)
    hook.remove()
    assert maps.max() > 0


def test_with_average_pooling_it_is_cam():
    """The paper's §3.1: it generalizes CAM, whose weights are those of the classifier."""
    torch.manual_seed(0)
    model = timm.create_model('test_resnet', num_classes=3).eval()
    images = torch.randn(2, 3, 128, 128)
    features = model.forward_features(images)
    cam = torch.einsum('k,bkhw->bhw', model.fc.weight[1], features).relu() / features[0, 0].numel()
    maps, _ = grad_cam(model, images, torch.tensor([1, 1]))
    torch.testing.assert_close(maps, cam.detach())


@pytest.mark.parametrize(('size', 'side'), [(32, 4), (64, 4), (128, 4), (160, 5)])
def test_small_images_are_explained_at_an_earlier_stage(size, side):
    model = timm.create_model('test_dsk_resnext', num_classes=3)
    maps, _ = grad_cam(model, torch.randn(1, 3, size, size), torch.tensor([0]))
    assert maps.shape == (1, side, side)


def test_networks_without_maps():
    model = timm.create_model('test_vit', num_classes=3)
    with pytest.raises(ValueError, match='needs a network with feature maps'):
        grad_cam(model, torch.randn(1, 3, 160, 160), torch.tensor([0]))
