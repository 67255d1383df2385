"""Hugging Face's Trainer on a DSK network out of a folder that timm saved, with focal cosine loss and LSB swap.

timm-vipriors demo-data digits
python hf_trainer.py digits [EPOCHS]
"""

import sys

import timm
import torch
from torchvision.datasets import ImageFolder
from transformers import AutoConfig, AutoImageProcessor, TimmWrapperForImageClassification, Trainer, TrainingArguments

import timm_vipriors  # noqa: F401  registers the models: transformers has timm make them by their names
from timm_vipriors.data import create_transform
from timm_vipriors.loss import FocalCosineLoss


def collate(samples):
    images, labels = zip(*samples, strict=True)
    return dict(pixel_values=torch.stack(images), labels=torch.tensor(labels))


def main(data, epochs=20):
    # a new network for images of 32 pixels, in a folder as timm and the hub have it
    names = ImageFolder(f'{data}/train').classes
    cfg = dict(input_size=(3, 32, 32), pool_size=(1, 1), crop_pct=1.0)
    network = timm.create_model('test_dsk_resnext', num_classes=len(names), pretrained_cfg_overlay=cfg)
    timm.models.save_for_hf(network, 'dsk_new', model_config=dict(label_names=names), safe_serialization=True)

    config = AutoConfig.from_pretrained('dsk_new')
    (config.model_args or {}).pop('num_classes', None)  # timm 1.0.31 saves it here too, and transformers gives it twice
    model = TimmWrapperForImageClassification.from_pretrained('dsk_new', config=config)
    processor = AutoImageProcessor.from_pretrained('dsk_new')
    augment = dict(scale=(0.7, 1), ratio=(0.9, 1.1), hflip=0, color_jitter=None)  # digits must not be mirrored
    transform = create_transform(**processor.data_config, is_training=True, lsb_swap=2, **augment)
    criterion = FocalCosineLoss(reduction='sum')  # the trainer counts the images of an update, on all devices

    def loss(output, labels, num_items_in_batch):
        return criterion(output.logits, labels) / num_items_in_batch

    settings = dict(num_train_epochs=int(epochs), per_device_train_batch_size=25, per_device_eval_batch_size=100)
    optimizer = dict(learning_rate=3e-3, weight_decay=0.05, lr_scheduler_type='cosine', warmup_steps=20)
    quiet = dict(report_to='none', save_strategy='no', dataloader_pin_memory=torch.cuda.is_available())
    trainer = Trainer(
        model,
        TrainingArguments('hf_trainer', **settings, **optimizer, **quiet),
        data_collator=collate,
        train_dataset=ImageFolder(f'{data}/train', transform),
        eval_dataset=ImageFolder(f'{data}/validation', processor.val_transforms),
        compute_loss_func=loss,
        compute_metrics=lambda result: dict(accuracy=(result.predictions.argmax(1) == result.label_ids).mean()),
    )
    trainer.train()
    print(f'validation accuracy: {trainer.evaluate()["eval_accuracy"]:.1%}')
    trainer.save_model('dsk_trained')  # timm.create_model('local-dir:dsk_trained', pretrained=True) reads it too


if __name__ == '__main__':
    main(*sys.argv[1:])
