"""Class probabilities of the images in a folder, by any timm model, with test-time augmentation."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset, create_loader
from timm.data.readers.reader_image_folder import ReaderImageFolder
from torch import nn

from ..data.datasets import StrictImageDataset
from ..files import progress_bar
from .scores import Scores
from .tta import create_tta_transform, parse_tta, views


@dataclass(frozen=True)
class Labels:
    """What a folder says of its images' classes."""

    targets: np.ndarray | None  # (N,) int64, -1 where unknown
    class_names: list[str] | None


def predict(
    model: nn.Module,
    root: str,
    data_config: dict[str, Any],
    *,
    split: str = 'validation',
    class_names: list[str] | None = None,
    model_name: str = '',
    tta: str = 'none',
    train_config: dict[str, Any] | None = None,
    batch_size: int = 128,
    workers: int = 4,
    device: torch.device | str = 'cpu',
    amp_dtype: torch.dtype | None = None,
    channels_last: bool = False,
    seed: int = 42,
    report: Callable[[str], None] = lambda line: None,
) -> Scores:
    """Predict the images of a folder: all of them, in the order of timm's reader.

    Args:
        model: A classifier `(B, C, H, W)` → logits `(B, num_classes)`, on the device. It is put in evaluation mode.
        root: The data folder: with a folder for each class, or with images alone, below a split's folder or not.
        data_config: As timm's `resolve_data_config` returns it.
        split: The split's folder, if the data folder has one.
        class_names: The classes of the model in order. Without them those of the folder, if they are as many.
        model_name: What the scores are called.
        tta: `none`, `hflip`, `ten-crop` or `randaug:N`; the views' probabilities are averaged.
        train_config: The training's transform, for `randaug:N`.
        batch_size: Images in a batch. The model sees one view of each at a time.
        workers: Processes that load images.
        device: Where to compute.
        amp_dtype: Compute in this lower precision, by autocast.
        channels_last: Memory layout.
        seed: Seed of `randaug:N`.
        report: Is told how fast it was.

    Returns:
        The scores: probabilities, file names relative to the folder, and targets where the folder has them.

    Raises:
        ValueError: If the folder has no images or other classes than the model, or the views are unknown.
        CorruptImageError: If an image cannot be decoded.
    """
    parse_tta(tta)
    mode = 'L' if data_config['input_size'][0] == 1 else 'RGB'
    try:
        dataset = StrictImageDataset.of(create_dataset('', root=root, split=split, input_img_mode=mode))
    except RuntimeError as e:
        raise ValueError(f'no images in {root}: {e}') from e
    labels = read_labels(dataset.reader, model.num_classes, class_names)
    transform = _tried_transform(mode, tta, data_config, train_config, seed)
    loader = create_loader(
        dataset,
        data_config['input_size'],
        batch_size,
        mean=data_config['mean'],
        std=data_config['std'],
        num_workers=workers,
        persistent_workers=False,
        device=torch.device(device),
    )
    dataset.transform = transform
    model.eval()
    device_type = torch.device(device).type
    autocast = partial(torch.autocast, device_type, amp_dtype) if amp_dtype else nullcontext
    scores = np.empty((len(dataset), model.num_classes), np.float32)
    done, started = 0, time.perf_counter()
    with torch.inference_mode(), progress_bar(len(dataset), 'Predicting') as bar:
        for batch, _ in loader:
            total = 0
            for view in views(tta, batch):
                if channels_last:
                    view = view.contiguous(memory_format=torch.channels_last)
                with autocast():
                    logits = model(view)
                total = total + logits.float().softmax(-1)
            mean = total / parse_tta(tta)[1]
            scores[done : done + len(mean)] = mean.cpu().numpy()
            done += len(mean)
            bar.update(len(mean))
    report(f'{done / (time.perf_counter() - started):,.0f} images/s')
    return Scores(
        scores=scores,
        filenames=np.array([name.replace('\\', '/') for name in dataset.filenames()]),
        targets=labels.targets,
        class_names=None if labels.class_names is None else np.array(labels.class_names),
        model=model_name,
    )


def _tried_transform(mode: str, tta: str, *args: Any) -> Callable[[Image.Image], torch.Tensor]:
    """The views' transform, tried on an empty image, so that wrong settings show before the first batch."""
    try:
        transform = create_tta_transform(tta, *args)
        transform(Image.new(mode, (64, 64)))
    except Exception as e:  # timm and torchvision check little, and by all kinds of exceptions
        raise ValueError(f'the views {tta!r} cannot be made of images: {e or type(e).__name__}') from e
    return transform


def read_labels(reader: ReaderImageFolder, num_classes: int, class_names: list[str] | None) -> Labels:
    """The targets of a folder's images by the model's classes; None where there are no class folders.

    Raises:
        ValueError: If the folders are not the model's classes.
    """
    if class_names is not None and len(class_names) != num_classes:
        raise ValueError(f'{len(class_names)} class names were given for a model of {num_classes} classes')
    folders = list(reader.class_to_idx)
    if class_names is None and len(folders) != num_classes:
        if len(folders) > 1:
            raise ValueError(
                f'{reader.root} has {len(folders)} class folders, the model has {num_classes} classes: name them in '
                f'order with --classes, a file or the folder it was trained on'
            )
        return Labels(None, None)  # images alone
    class_names = folders if class_names is None else class_names
    index = {name: i for i, name in enumerate(class_names)}
    targets = np.array([index.get(folders[target], -1) for _, target in reader.samples], np.int64)
    return Labels(targets if (targets >= 0).any() else None, class_names)
