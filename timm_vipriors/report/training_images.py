"""What a run was trained on: how many images of each class, and some of them as the network sees them."""

from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.data import FastCollateMixup, create_dataset, create_loader, resolve_data_config

from ..data import LSBSwap
from ..data.datasets import StrictImageDataset
from ..data.seeding import seeded
from ..data.transforms import posterize_to_a_bit, put_first
from ..errors import UserError
from ..files import first_line, percent
from ..scripts.folders import Folders
from .images import data_uri, to_image

SAMPLES = 16
# the names in the settings of a run, and those of timm's create_loader
_AUGMENTATION = {
    'aa': 'auto_augment', 'reprob': 're_prob', 'remode': 're_mode', 'recount': 're_count', 'no_aug': 'no_aug',
    'scale': 'scale', 'ratio': 'ratio', 'hflip': 'hflip', 'vflip': 'vflip', 'train_crop_mode': 'train_crop_mode',
    'color_jitter': 'color_jitter', 'color_jitter_prob': 'color_jitter_prob', 'grayscale_prob': 'grayscale_prob',
    'gaussian_blur_prob': 'gaussian_blur_prob',
}  # fmt: skip
# and those of timm's FastCollateMixup
_MIXUP = {
    'mixup': 'mixup_alpha', 'cutmix': 'cutmix_alpha', 'cutmix_minmax': 'cutmix_minmax', 'mixup_prob': 'prob',
    'mixup_switch_prob': 'switch_prob', 'mixup_mode': 'mode', 'smoothing': 'label_smoothing',
}  # fmt: skip


@dataclass(frozen=True)
class TrainingImages:
    """The training images of one or more runs."""

    where: str  # the folder
    counts: tuple[tuple[str, int], ...] = ()  # name and number of images of each class, the largest first
    samples: tuple[tuple[str, str], ...] = ()  # images of the loader as data URIs, with their labels
    size: int = 0  # the longer side of the network's input in pixels
    missing: str = ''  # why there are no samples, or nothing at all


def training_images(settings: dict[str, Any]) -> TrainingImages:
    """Count the training images of a run, and load some of them by timm's loader as the run did.

    Args:
        settings: The run's args.yaml, of our script or timm's. The same settings give the same images.

    Example:
        >>> training_images({'model': 'resnet18'}).missing
        'Not shown: the args.yaml of the run names no folder of images.'
    """
    where = str(settings.get('data_dir') or settings.get('data') or '')
    try:
        if settings.get('dataset') or not where:
            raise UserError('the args.yaml of the run names no folder of images')
        folders = Folders(where, {'train': settings.get('train_split', 'train')}, settings.get('class_map') or '')
        if not folders.are_folders:
            raise UserError(f'{where} is no folder of images')
    except UserError as e:
        return TrainingImages(where, missing=f'Not shown: {e}.')
    counts = tuple(sorted(folders.counts['train'].items(), key=lambda item: (-item[1], item[0])))
    try:
        return TrainingImages(where, counts, *_samples(folders, settings))
    except Exception as e:  # the settings are a text file, and timm's functions raise anything for what is in it
        return TrainingImages(where, counts, missing=f'The augmented images cannot be shown: {first_line(e)}.')


def _samples(folders: Folders, settings: dict[str, Any]) -> tuple[tuple[tuple[str, str], ...], int]:
    given = {key: value for key, value in settings.items() if value is not None}
    config = resolve_data_config(given, pretrained_cfg=timm.get_pretrained_cfg(given['model']).to_dict())
    reader, names = folders.readers['train'], folders.class_names
    channels = config['input_size'][0]
    mode = 'L' if channels == 1 else 'RGB'
    dataset = StrictImageDataset.of(create_dataset('', root=reader.root, search_split=False, input_img_mode=mode))
    dataset.reader = reader
    mixup = {ours: given[key] for key, ours in _MIXUP.items() if key in given}
    is_mixed = any(given.get(key) for key in ('mixup', 'cutmix', 'cutmix_minmax'))
    interpolation = None if given.get('no_aug') else given.get('train_interpolation')
    with posterize_to_a_bit():
        loader = create_loader(
            dataset,
            is_training=True,
            batch_size=min(SAMPLES, len(dataset)) // 2 * 2,  # mixup takes pairs
            interpolation=interpolation or config['interpolation'],
            collate_fn=FastCollateMixup(**mixup, num_classes=len(names)) if is_mixed else None,
            num_workers=0,
            persistent_workers=False,
            device=torch.device('cpu'),
            **{key: config[key] for key in ('input_size', 'mean', 'std')},
            **{ours: given[key] for key, ours in _AUGMENTATION.items() if key in given},
        )
    if given.get('lsb_swap'):
        put_first(LSBSwap(given['lsb_swap'], given['lsb_prob']), dataset.transform)
    with seeded(given.get('seed', 42)):
        images, targets = next(iter(loader))
    # the shares of mixed classes, without what label smoothing gives every class
    smoothed = mixup.get('label_smoothing', 0.1) / len(names)
    shares = targets - smoothed if is_mixed else torch.nn.functional.one_hot(targets, len(names)).float()
    labels = [_label(row, names) for row in shares]
    uris = [data_uri(to_image(image, config)) for image in images]
    return tuple(zip(uris, labels, strict=True)), max(config['input_size'][1:])


def _label(shares: torch.Tensor, names: list[str]) -> str:
    """The class of an image, or both of a mixed one with their shares."""
    found = [(share, names[i]) for i, share in enumerate((shares / shares.sum()).tolist()) if share > 0.005]
    found.sort(reverse=True)
    return found[0][1] if len(found) == 1 else ' + '.join(f'{percent(share, 0)} {name}' for share, name in found)
