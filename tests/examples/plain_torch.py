"""A plain PyTorch loop: LSB swap, focal cosine loss with its learned layer, center loss on the features.

timm-vipriors demo-data digits
python plain_torch.py digits [EPOCHS]
"""

import sys

import timm
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import timm_vipriors  # noqa: F401  registers the models
from timm_vipriors.data import create_transform
from timm_vipriors.loss import CenterLoss, FocalCosineLoss


def main(data, epochs=20):
    epochs, device = int(epochs), torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    augment = dict(scale=(0.7, 1), ratio=(0.9, 1.1), hflip=0, color_jitter=None)  # digits must not be mirrored
    train_set = ImageFolder(f'{data}/train', create_transform(32, is_training=True, lsb_swap=2, **augment))
    validation_set = ImageFolder(f'{data}/validation', create_transform(32, crop_pct=1.0))
    loader = DataLoader(train_set, batch_size=25, shuffle=True, drop_last=True)

    classes = len(train_set.classes)
    model = timm.create_model('test_dsk_resnext', num_classes=classes).to(device)
    focal_cosine = FocalCosineLoss(num_classes=classes).to(device)  # num_classes: with a layer of its own
    center = CenterLoss(classes, model.head_hidden_size).to(device)

    # the layer is learned with the model; the centers are a buffer, and follow the features by their own rule
    parameters = [*model.parameters(), *focal_cosine.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * len(loader))
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            features = model.forward_head(model.forward_features(images), pre_logits=True)
            logits = model.get_classifier()(features)
            loss = focal_cosine(logits, labels) + 0.0005 * center(logits, labels, features)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()

    model.eval()
    with torch.inference_mode():
        batches = DataLoader(validation_set, batch_size=100)
        right = sum((model(images.to(device)).argmax(1).cpu() == labels).sum().item() for images, labels in batches)
    print(f'validation accuracy: {right / len(validation_set):.1%}')
    parts = dict(model=model, focal_cosine=focal_cosine, center=center)
    torch.save({name: part.state_dict() for name, part in parts.items()}, 'plain_torch.pt')


if __name__ == '__main__':
    main(*sys.argv[1:])
