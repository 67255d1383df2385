"""Hugging Face Accelerate: model and criterion as one task; the tree over the classes grows from the classifier.

timm-vipriors demo-data digits
accelerate launch accelerate_loop.py digits [EPOCHS]
"""

import sys

import timm
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import timm_vipriors  # noqa: F401  registers the models
from timm_vipriors.data import create_transform
from timm_vipriors.loss import create_loss
from timm_vipriors.task import FeatureClassificationTask


def main(data, epochs=20):
    epochs, accelerator = int(epochs), Accelerator()
    augment = dict(scale=(0.7, 1), ratio=(0.9, 1.1), hflip=0, color_jitter=None)  # digits must not be mirrored
    train_set = ImageFolder(f'{data}/train', create_transform(32, is_training=True, **augment))
    validation_set = ImageFolder(f'{data}/validation', create_transform(32, crop_pct=1.0))
    train_loader = accelerator.prepare(DataLoader(train_set, batch_size=25, shuffle=True, drop_last=True))
    validation_loader = accelerator.prepare(DataLoader(validation_set, batch_size=100))

    classes, steps = len(train_set.classes), len(train_loader)
    model = timm.create_model('test_dsk_resnext', num_classes=classes)
    tree = dict(tree_start_epoch=epochs // 4, tree_update_every=5, steps_per_epoch=steps)  # grown anew every 5 epochs
    criterion = create_loss('pcl+center+tsl', num_classes=classes, feature_dim=model.head_hidden_size, **tree)
    task = FeatureClassificationTask(model, criterion, verbose=False)  # takes images and labels, returns the loss
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * steps)
    task, optimizer = accelerator.prepare(task, optimizer)
    for _ in range(epochs):
        task.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            accelerator.backward(task(images, labels)['loss'])
            optimizer.step()
            scheduler.step()

    if accelerator.num_processes > 1:  # each has BatchNorm statistics of its own
        timm.utils.distribute_bn(model, accelerator.num_processes, reduce=True)
    task.eval()
    with torch.inference_mode():
        right = [accelerator.gather_for_metrics(model(x).argmax(1) == y) for x, y in validation_loader]
    accelerator.print(f'validation accuracy: {torch.cat(right).float().mean():.1%}')
    # the model's state, and that of its criterion: the centers and the tree
    accelerator.save(accelerator.unwrap_model(task).get_checkpoint_state(), 'accelerate_loop.pt')


if __name__ == '__main__':
    main(*sys.argv[1:])
