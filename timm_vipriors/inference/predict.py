"""Class probabilities of the images in a folder, by any timm model, with test-time augmentation."""

import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset
from timm.data.loader import adapt_to_chs
from timm.data.readers.reader_image_folder import ReaderImageFolder
from torch import nn
from torch.utils.data import DataLoader

from ..data.datasets import StrictImageDataset
from ..files import default_workers, first_line, first_names, plural, progress_bar, repeated
from .scores import Scores
from .tta import create_tta_transform, parse_tta, views

_logger = logging.getLogger(__name__)


def predict(
    model: nn.Module,
    root: str | os.PathLike,
    data_config: dict[str, Any],
    *,
    split: str = 'validation',
    class_names: list[str] | None = None,
    model_name: str = '',
    tta: str = 'none',
    train_config: dict[str, Any] | None = None,
    batch_size: int = 128,
    workers: int | None = None,
    amp_dtype: torch.dtype | None = None,
    channels_last: bool = False,
    seed: int = 42,
) -> Scores:
    """Predict the images of a folder: all of them, in the order of timm's reader.

    Args:
        model: A classifier `(B, C, H, W)` → logits `(B, num_classes)`. It is put in evaluation mode.
        root: The data folder: with a folder for each class, or with images alone, below a split's folder or not.
        data_config: As timm's `resolve_data_config` returns it.
        split: The split's folder, if the data folder has one.
        class_names: The classes of the model in order; by default those of the folder's training split if the number
            fits. Folders with the names of classes give the targets.
        model_name: Name of the model in the scores.
        tta: `none`, `hflip`, `ten-crop` or `randaug:N`; the views' probabilities are averaged.
        train_config: The training's transform, for `randaug:N`.
        batch_size: Images in a batch. The model sees one view of each at a time.
        workers: Processes that load images; by default as many as cores, at most eight.
        amp_dtype: Type of autocast, such as `torch.bfloat16`; None for none.
        channels_last: Memory layout.
        seed: Seed of `randaug:N`.

    Returns:
        The scores: probabilities, file names relative to the folder, and targets where its folders are classes.

    Raises:
        ValueError: If the folder has no images or other classes than the model, or the views are unknown.
        CorruptImageError: If an image cannot be decoded.
    """
    root, device = os.fspath(root), next(model.parameters()).device
    if class_names is None and os.path.isdir(os.path.join(root, 'train')):
        names = list(image_folder(os.path.join(root, 'train'), '', None).reader.class_to_idx)
        class_names = names if len(names) == model.num_classes else None
        if class_names:
            _logger.warning('the classes are taken to be those of %s/train, since the checkpoint names none', root)
    check_class_names(class_names, model.num_classes)
    dataset = image_folder(root, split, class_names, 'L' if data_config['input_size'][0] == 1 else 'RGB')
    targets = folder_targets(dataset.reader, class_names)
    try:  # before the first batch; timm and torchvision check little, and by all kinds of exceptions
        dataset.transform = create_tta_transform(tta, data_config, train_config, seed)
        dataset.transform(Image.new(dataset.input_img_mode, (64, 64)))
    except Exception as e:
        raise ValueError(f'the views {tta!r} cannot be made of images: {first_line(e)}') from e
    workers = default_workers() if workers is None else workers
    loader = DataLoader(dataset, batch_size, num_workers=workers, pin_memory=device.type == 'cuda')
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    settings = dict(tta=tta, amp_dtype=amp_dtype, channels_last=channels_last)
    scores = np.empty((len(dataset), model.num_classes), np.float32)
    done = 0
    with progress_bar(len(dataset), 'Predicting') as bar:
        for batch, _ in loader:
            scores[done : done + len(batch)] = probabilities(model, batch, data_config, **settings).cpu().numpy()
            done += len(batch)
            bar.update(len(batch))
    names = [PurePath(name).as_posix() for name in dataset.filenames()]
    return Scores(scores, np.array(names), targets, None if class_names is None else np.array(class_names), model_name)


@torch.inference_mode()
def probabilities(
    model: nn.Module,
    batch: torch.Tensor,
    data_config: dict[str, Any],
    *,
    tta: str = 'none',
    amp_dtype: torch.dtype | None = None,
    channels_last: bool = False,
) -> torch.Tensor:
    """Mean of the probabilities `(B, num_classes)` over the views of a batch, uint8 `(B, V, C, H, W)`."""
    device = next(model.parameters()).device
    mean_and_std = (adapt_to_chs(data_config[key], batch.shape[2]) for key in ('mean', 'std'))
    mean, std = (255 * torch.tensor(values, device=device).view(-1, 1, 1) for values in mean_and_std)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.eval()
    total = 0
    for view in views(tta, batch.to(device, non_blocking=True)):
        view = view.float().sub_(mean).div_(std).contiguous(memory_format=layout)
        with torch.autocast(device.type, amp_dtype) if amp_dtype else nullcontext():
            logits = model(view)
        total = total + logits.float().softmax(-1)
    return total / parse_tta(tta)[1]


def check_class_names(names: Sequence[str] | None, num_classes: int) -> None:
    """Raise a ValueError unless there is a different name for each class of the model."""
    if names is not None and len(names) != num_classes:
        raise ValueError(f'{len(names)} class names were given for a model of {num_classes} classes')
    if twice := repeated(names or ()):
        raise ValueError(f'class names occur more than once: {first_names(twice)}')


def image_folder(root: str, split: str, class_names: list[str] | None, mode: str = 'RGB') -> StrictImageDataset:
    """timm's data set of the split's folder, or of the root if there is none (or it is the folder of a class)."""
    try:
        dataset = create_dataset('', root=root, split=split, input_img_mode=mode)
        found = dataset.reader
        if found.root != root and '' in found.class_to_idx and os.path.basename(found.root) in (class_names or ()):
            dataset = create_dataset('', root=root, search_split=False, input_img_mode=mode)
    except RuntimeError as e:
        raise ValueError(f'no images in {root}: {e}') from e
    return StrictImageDataset.of(dataset)


def folder_targets(reader: ReaderImageFolder, class_names: list[str] | None) -> np.ndarray | None:
    """The targets (N,) of a folder's images, None if no folder has the name of a class, an error if only some have."""
    folders, index = list(reader.class_to_idx), {name: i for i, name in enumerate(class_names or ())}
    others = [name for name in folders if name and name not in index]  # images beside the folders have no class
    if len(others) == len([name for name in folders if name]):
        if others:
            why = 'no folder has the name of a class' if class_names else 'the class names of the model are not known'
            _logger.warning('%s: %s (%s), so its images have no targets', reader.root, why, first_names(others))
        return None
    if others:
        raise ValueError(
            f'{reader.root} has {plural(len(others), "folder")} that the model has no class for '
            f'({first_names(others)}): its classes are {first_names(class_names)}'
        )
    return np.array([index.get(folders[target], -1) for _, target in reader.samples], np.int64)
