"""A trained model with all that it takes to classify images, with test-time augmentation."""

import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset, create_transform
from timm.data.loader import adapt_to_chs
from timm.data.readers.reader_image_folder import ReaderImageFolder
from torch import nn
from torch.utils.data import DataLoader

from ..checkpoint import DESCRIPTION
from ..data.datasets import StrictImageDataset, decode
from ..files import atomic_write, default_workers, first_line, first_names, plural, progress_bar, repeated
from .scores import Scores
from .tta import create_tta_transform, parse_tta, views

Images = str | os.PathLike | Image.Image
_logger = logging.getLogger(__name__)


class Classifier:
    """A model with its classes and the preparation of its images.

    Attributes:
        model: The network, in evaluation mode.
        transform: Makes its input `(C, H, W)` of a PIL image.
        class_names: The classes in the order of the logits, or None where they are not known.
        data_config: Input size, mean, std, interpolation and crop, as timm's `resolve_data_config` returns them.
        model_name: The model's name in timm.
        train_config: The training's transform, for `randaug:N`.
        description: What `save` writes beside the weights.

    Examples:
        >>> import timm
        >>> model = timm.create_model('test_dsk_resnext', num_classes=2)
        >>> classifier = Classifier(model, timm.data.resolve_data_config(model=model), ['cat', 'dog'])
        >>> sorted(classifier(Image.new('RGB', (200, 150))))
        ['cat', 'dog']
    """

    def __init__(
        self,
        model: nn.Module,
        data_config: dict[str, Any],
        class_names: Sequence[str] | None = None,
        model_name: str = '',
        train_config: dict[str, Any] | None = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.data_config, self.model_name = model.eval(), data_config, model_name
        self.class_names = None if class_names is None else list(class_names)
        self.train_config, self.description = train_config or {}, description or {}
        self.transform = create_transform(**data_config)

    def to(self, device: torch.device | str) -> 'Classifier':
        """Move the model, and return the classifier."""
        self.model.to(device)
        return self

    @property
    def mode(self) -> str:
        """The mode of the PIL images that the model takes."""
        return 'L' if self.data_config['input_size'][0] == 1 else 'RGB'

    def __call__(self, images: Images | Sequence[Images], *, tta: str = 'none', seed: int = 42, **kwargs: Any) -> Any:
        """Classify an image, or several: PIL images or paths.

        Args:
            images: The image, or a list.
            tta: `none`, `hflip`, `ten-crop` or `randaug:N`; the views' probabilities are averaged.
            seed: Seed of `randaug:N`.
            **kwargs: `amp_dtype` and `channels_last`, as in `predict`.

        Returns:
            The probabilities by class name (or index, if the names are not known), the best first; a list of these for
            a list of images.

        Raises:
            CorruptImageError: If an image cannot be decoded.
            OSError: If it cannot be opened.
        """
        if isinstance(images, Images):
            return self([images], tta=tta, seed=seed, **kwargs)[0]
        names = self.class_names or list(map(str, range(self.model.num_classes)))
        transform, found = create_tta_transform(tta, self.data_config, self.train_config, seed), []
        for image in images:
            row = self._probabilities(transform(self._open(image))[None], tta, **kwargs)[0]
            found.append({names[i]: float(row[i]) for i in np.argsort(-row, kind='stable')})
        return found

    def _open(self, image: Images) -> Image.Image:
        if isinstance(image, Image.Image):
            return image.convert(self.mode)
        with open(image, 'rb') as file:
            return decode(file, os.fspath(image), self.mode)

    def predict(
        self,
        root: str | os.PathLike,
        *,
        split: str = 'validation',
        tta: str = 'none',
        batch_size: int = 128,
        workers: int | None = None,
        amp_dtype: torch.dtype | None = None,
        channels_last: bool = False,
        seed: int = 42,
    ) -> Scores:
        """Predict the images of a folder: all of them, in the order of timm's reader.

        Without class names of the model those of the folder's training split are taken, if the number fits.

        Args:
            root: The data folder: with a folder for each class, or with images alone, below a split's folder or not.
            split: The split's folder, if the data folder has one.
            tta: `none`, `hflip`, `ten-crop` or `randaug:N`; the views' probabilities are averaged.
            batch_size: Images in a batch. The model sees one view of each at a time.
            workers: Processes that load images; by default as many as cores, at most eight.
            amp_dtype: Type of autocast, such as `torch.bfloat16`; None for none.
            channels_last: Memory layout.
            seed: Seed of `randaug:N`.

        Returns:
            The scores: probabilities, file names relative to the folder, and targets if its folders are classes.

        Raises:
            ValueError: If the folder has no images or other classes than the model, or the views are unknown.
            CorruptImageError: If an image cannot be decoded.
        """
        root, class_names, num_classes = os.fspath(root), self.class_names, self.model.num_classes
        if class_names is None and os.path.isdir(os.path.join(root, 'train')):
            names = list(_image_folder(os.path.join(root, 'train'), '', None).reader.class_to_idx)
            class_names = names if len(names) == num_classes else None
            if class_names:
                _logger.warning('the classes are taken to be those of %s/train, since the checkpoint names none', root)
        check_class_names(class_names, num_classes)
        dataset = _image_folder(root, split, class_names, self.mode)
        targets = _folder_targets(dataset.reader, class_names)
        try:  # before the first batch; timm and torchvision check little, and by all kinds of exceptions
            dataset.transform = create_tta_transform(tta, self.data_config, self.train_config, seed)
            dataset.transform(Image.new(self.mode, (64, 64)))
        except Exception as e:
            raise ValueError(f'the views {tta!r} cannot be made of images: {first_line(e)}') from e
        loader = DataLoader(
            dataset,
            batch_size,
            num_workers=default_workers() if workers is None else workers,
            pin_memory=next(self.model.parameters()).device.type == 'cuda',
        )
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        scores = np.empty((len(dataset), num_classes), np.float32)
        done = 0
        with progress_bar(len(dataset), 'Predicting') as bar:
            for batch, _ in loader:
                scores[done : done + len(batch)] = self._probabilities(batch, tta, amp_dtype, channels_last)
                done += len(batch)
                bar.update(len(batch))
        names = np.array([PurePath(name).as_posix() for name in dataset.filenames()])
        return Scores(scores, names, targets, None if class_names is None else np.array(class_names), self.model_name)

    @torch.inference_mode()
    def _probabilities(
        self, batch: torch.Tensor, tta: str, amp_dtype: torch.dtype | None = None, channels_last: bool = False
    ) -> np.ndarray:
        """Mean of the probabilities `(B, num_classes)` over the views of a batch, uint8 `(B, V, C, H, W)`."""
        device = next(self.model.parameters()).device
        mean_and_std = (adapt_to_chs(self.data_config[key], batch.shape[2]) for key in ('mean', 'std'))
        mean, std = (255 * torch.tensor(values, device=device).view(-1, 1, 1) for values in mean_and_std)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        total = 0
        for view in views(tta, batch.to(device, non_blocking=True)):
            view = view.float().sub_(mean).div_(std).contiguous(memory_format=layout)
            with torch.autocast(device.type, amp_dtype) if amp_dtype else nullcontext():
                logits = self.model(view)
            total = total + logits.float().softmax(-1)
        return (total / parse_tta(tta)[1]).cpu().numpy()

    def save(self, path: str | os.PathLike) -> None:
        """Write a checkpoint for `load_classifier`, of a fused model too."""
        content = {'state_dict': self.model.state_dict(), 'arch': self.model_name, DESCRIPTION: self.description}
        with atomic_write(path) as partial:
            torch.save(content, partial)


def check_class_names(names: Sequence[str] | None, num_classes: int) -> None:
    """Raise a ValueError unless there is a different name for each class of the model."""
    if names is not None and len(names) != num_classes:
        raise ValueError(f'{len(names)} class names were given for a model of {num_classes} classes')
    if twice := repeated(names or ()):
        raise ValueError(f'class names occur more than once: {first_names(twice)}')


def _image_folder(root: str, split: str, class_names: list[str] | None, mode: str = 'RGB') -> StrictImageDataset:
    """timm's data set of the split's folder, or of the root if there is none (or it is the folder of a class)."""
    try:
        dataset = create_dataset('', root=root, split=split, input_img_mode=mode)
        found = dataset.reader
        if found.root != root and '' in found.class_to_idx and os.path.basename(found.root) in (class_names or ()):
            dataset = create_dataset('', root=root, search_split=False, input_img_mode=mode)
    except RuntimeError as e:
        raise ValueError(f'no images in {root}: {e}') from e
    return StrictImageDataset.of(dataset)


def _folder_targets(reader: ReaderImageFolder, class_names: list[str] | None) -> np.ndarray | None:
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
