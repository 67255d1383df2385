"""Networks whose outputs say something: their BatchNorm layers have seen images and do not start as the identity."""

from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch import nn

SMALL = 'test_dsk_resnext'
NUM_CLASSES = 7
DATA_CONFIG = dict(
    input_size=(3, 32, 32), mean=(0.4, 0.4, 0.4), std=(0.3, 0.3, 0.3), interpolation='bicubic', crop_pct=1.0
)


def images(batch: int = 3, size: int = 64, seed: int = 1, chans: int = 3) -> torch.Tensor:
    return torch.randn(batch, chans, size, size, generator=torch.Generator().manual_seed(seed))


def seen(name: str = SMALL, size: int = 64, **kwargs) -> nn.Module:
    """A network in eval mode after some batches in training mode."""
    torch.manual_seed(0)
    model = timm.create_model(name, **{'num_classes': NUM_CLASSES, **kwargs}).train()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 0.5  # the statistics arrive in few steps
            nn.init.uniform_(norm.weight, 0.7, 1.3)
            nn.init.uniform_(norm.bias, -0.2, 0.2)
    with torch.no_grad():
        for step in range(4):
            model(images(8, size, seed=10 + step, chans=kwargs.get('in_chans', 3)))
    return model.eval()


def load_digits(root, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A split of the demo data as tensors, normalised as timm does."""
    transform = create_transform(**DATA_CONFIG, is_training=False)
    inputs, targets = [], []
    for path in sorted(Path(root, split).glob('*/*.png')):
        with Image.open(path) as image:
            inputs.append(transform(image.convert('RGB')))
        targets.append(int(path.parent.name))
    return torch.stack(inputs), torch.tensor(targets)


def train_on_digits(root, epochs: int, batch_size: int = 50) -> nn.Module:
    """Train the small network on the demo data, and return it in eval mode."""
    inputs, targets = load_digits(root, 'train')
    torch.manual_seed(0)
    model = timm.create_model(SMALL, num_classes=10).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    steps = epochs * (len(inputs) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(batch_size):
            shift = [int(s) for s in torch.randint(-2, 3, (2,))]
            loss = nn.functional.cross_entropy(model(inputs[rows].roll(shift, (2, 3))), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()
