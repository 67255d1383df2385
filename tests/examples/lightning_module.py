"""PyTorch Lightning: the composite objective of VIPF on logits and features, with a tree over the classes if given.

timm-vipriors demo-data digits
python lightning_module.py digits [EPOCHS [TREE]]
timm-vipriors hierarchy induce lightning_model.pth --classes digits -o tree.json
"""

import sys

import lightning
import timm
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import timm_vipriors  # noqa: F401  registers the models
from timm_vipriors.data import create_transform
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import VIPriorsLoss


class Classifier(lightning.LightningModule):
    def __init__(self, num_classes, tree=None):
        super().__init__()
        self.save_hyperparameters()
        self.model = timm.create_model('test_dsk_resnext', num_classes=num_classes)
        hierarchy = ClassHierarchy.load(tree) if tree else None
        self.criterion = VIPriorsLoss(num_classes, self.model.head_hidden_size, hierarchy)  # saved with its centers

    def training_step(self, batch, batch_idx):
        images, labels = batch
        features = self.model.forward_head(self.model.forward_features(images), pre_logits=True)
        return self.criterion(self.model.get_classifier()(features), labels, features)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log('accuracy', (self.model(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=0.05)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, self.trainer.estimated_stepping_batches)
        return [optimizer], [dict(scheduler=scheduler, interval='step')]


def main(data, epochs=20, tree=None):
    augment = dict(scale=(0.7, 1), ratio=(0.9, 1.1), hflip=0, color_jitter=None)  # digits must not be mirrored
    train_set = ImageFolder(f'{data}/train', create_transform(32, is_training=True, **augment))
    validation_set = ImageFolder(f'{data}/validation', create_transform(32, crop_pct=1.0))
    train_loader = DataLoader(train_set, batch_size=25, shuffle=True, drop_last=True)
    module = Classifier(len(train_set.classes), tree)
    settings = dict(max_epochs=int(epochs), check_val_every_n_epoch=int(epochs))
    trainer = lightning.Trainer(**settings, logger=False, enable_checkpointing=False)
    trainer.fit(module, train_loader, DataLoader(validation_set, batch_size=100))
    print(f'validation accuracy: {trainer.callback_metrics["accuracy"]:.1%}')
    trainer.save_checkpoint('lightning_module.ckpt')
    torch.save(module.model.state_dict(), 'lightning_model.pth')  # the network alone, as timm has it


if __name__ == '__main__':
    main(*sys.argv[1:])
