"""Grad-CAM: which parts of an image speak for a class.

R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
Eq. 1 and 2. The paper takes the last convolutional layer. Small images leave it a pixel or two, so ours is the last
stage whose map has at least 4 × 4.
"""

import torch
from torch import nn

MIN_SIDE = 4


def grad_cam(model: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Grad-CAM of a batch of images, each for one class.

    Args:
        model: A network of timm with feature maps, such as a ResNet or EfficientNet; it is put in evaluation mode.
        images: The network's input, normalized, (B, C, H, W).
        classes: The class of each image whose logit is explained, (B,).

    Returns:
        The maps (B, h, w), not negative, 0 where nothing speaks for the class; and the logits (B, num_classes).

    Raises:
        ValueError: If the network has no feature maps, as vision transformers.

    Example:
        >>> import timm
        >>> model = timm.create_model('test_resnet', num_classes=3)
        >>> maps, logits = grad_cam(model, torch.randn(2, 3, 64, 64), torch.tensor([0, 2]))
        >>> maps.shape, logits.shape
        (torch.Size([2, 4, 4]), torch.Size([2, 3]))
    """
    gradients = None
    if hasattr(model, 'forward_intermediates'):
        with torch.enable_grad():
            images = images.detach().requires_grad_()  # for networks whose parameters are frozen
            features, stages = model.eval().forward_intermediates(images)
            logits = model.forward_head(features)
            stage = next((x for x in reversed(stages) if min(x.shape[2:]) >= MIN_SIDE), stages[0])
            of_classes = logits.gather(1, classes[:, None]).sum()
            (gradients,) = torch.autograd.grad(of_classes, stage, allow_unused=True)
    if gradients is None:  # without that method; or its maps are copies, which lead to no logit
        raise ValueError(
            f'Grad-CAM needs a network with feature maps (ResNet, EfficientNet …), not {type(model).__name__}'
        )
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # Eq. 1
    return (weights * stage).sum(dim=1).relu().detach(), logits.detach()  # Eq. 2
