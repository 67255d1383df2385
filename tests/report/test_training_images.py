"""The training images on a page are those that the training script's own loader gives."""

import base64
import io
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from timm.data import create_dataset, resolve_data_config

from timm_vipriors.data.datasets import StrictImageDataset
from timm_vipriors.data.seeding import seeded
from timm_vipriors.report.training_images import training_images
from timm_vipriors.scripts import train as script

from .html import build
from .samples import HEADER, write_run

FLAGS = {
    'plain': '--no-aug',
    'crops': '--scale 0.2 0.3 --hflip 0 --color-jitter 0',
    'policy': '--aa rand-m9-mstd0.5 --reprob 1 --remode const',
    'mixed': '--mixup 0.2 --cutmix 1 --smoothing 0.2 --seed 43',
    'gray': '--in-chans 1 --mean 0.5 --std 0.25',
}


def arguments(folder, flags=''):
    line = f'--data-dir {folder} --model test_efficientnet --img-size 48 --num-classes 10 -b 16 -j 0 --device cpu'
    args = script.parser.parse_args([*line.split(), *flags.split()])
    args.prefetcher, args.distributed = True, False
    return args


def decoded(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(',')[2]))) as image:
        return np.asarray(image.convert('RGB'), dtype=int)


@pytest.mark.parametrize('kind', FLAGS)
def test_the_samples_are_those_of_the_script(few_digits, kind, monkeypatch):
    monkeypatch.setattr(
        script, 'create_dataset', lambda *args, **kw: StrictImageDataset.of(create_dataset(*args, **kw))
    )
    args = arguments(few_digits, FLAGS[kind])
    config = resolve_data_config(vars(args))
    _, loader, _ = script.create_data(args, config, torch.device('cpu'))
    with seeded(args.seed):
        images, targets = next(iter(loader))
    found = training_images(vars(args))
    assert (found.missing, found.size, len(found.samples)) == ('', 48, 16)
    for image, target, (uri, label) in zip(images, targets, found.samples, strict=True):
        wanted = image * torch.tensor(config['std']).view(-1, 1, 1) + torch.tensor(config['mean']).view(-1, 1, 1)
        wanted = (255 * wanted).clamp(0, 255).numpy().transpose(1, 2, 0)
        assert np.abs(decoded(uri) - wanted).mean() < 6  # JPEG
        shares = target if kind == 'mixed' else torch.eye(10)[target]
        classes = [f'{i}' for i in shares.argsort(descending=True)[:2] if shares[i] > 0.03]
        assert [part.split()[-1] for part in label.split(' + ')] in (classes, classes[::-1])
    if kind == 'mixed':
        two = [target for target in targets if (target > 0.03).sum() == 2]
        share = max(target.max() for target in two) - 0.02  # 0.2 / 10 is the smoothing's
        assert any(label.startswith(f'{100 * share / 0.8:.0f} % ') for _, label in found.samples)


def test_each_kind_of_augmentation_shows(few_digits):
    sheets = [training_images(vars(arguments(few_digits, FLAGS[kind]))).samples for kind in FLAGS]
    assert sheets[0] == training_images(vars(arguments(few_digits, FLAGS['plain']))).samples
    assert len({tuple(uri for uri, _ in sheet) for sheet in sheets}) == len(FLAGS)


def test_balance_of_the_classes(few_digits, tmp_path):
    data = shutil.copytree(few_digits, tmp_path / 'data')
    for image in sorted((data / 'train/3').iterdir())[2:]:
        image.unlink()
    found = training_images(vars(arguments(data)))
    assert found.counts == (*((str(i), 8) for i in range(10) if i != 3), ('3', 2))
    settings = yaml.safe_dump(vars(arguments(data)))
    runs = [write_run(tmp_path / name, HEADER, '0,1,2,3,4,5', settings=settings) for name in 'ab']
    text = build(*runs)
    assert '74 training images, 10 classes, 2 to 8 in each.' in text
    assert '--class-weights balanced' in text
    assert text.count('<h3>Class balance</h3>') == 1 and text.count('<figure>') == 16  # once for both runs


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({}, 'the args.yaml of the run names no folder of images.'),
        ({'data': 'D', 'dataset': 'torch/cifar10'}, 'names no folder of images.'),
        ({'data': 'nowhere'}, 'the data folder nowhere does not exist.'),
        ({'data': 'D', 'model': 'no_such_model'}, 'cannot be shown: '),
        ({'data': 'D', 'model': 'resnet18', 'mean': [0.5, 0.5]}, 'cannot be shown: '),
    ],
)
def test_what_is_missing_is_said(few_digits, settings, sentence):
    settings = {key: str(few_digits) if value == 'D' else value for key, value in settings.items()}
    found = training_images(settings)
    assert sentence in found.missing and found.samples == ()
