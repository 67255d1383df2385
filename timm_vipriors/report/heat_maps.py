"""What speaks for a mistake: Grad-CAM over the images, by the network that made the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib import colormaps
from PIL import Image
from torch.nn import functional as F

from ..checkpoint import Checkpoint
from ..files import plural
from ..inference.classifier import Classifier, load_classifier
from ..inference.grad_cam import grad_cam
from .images import THUMBNAIL, data_uri, open_image, to_image
from .measures import Predictions
from .runs import TrainingRun

_AT_ONCE = 8  # images


@dataclass(frozen=True)
class HeatMaps:
    """Grad-CAM of images.

    Attributes:
        pictures: Data URIs by file name; empty without a checkpoint.
        note: What they are of, or why there are none.
    """

    pictures: dict[str, str]
    note: str


def heat_maps(
    predictions: Predictions, files: Sequence[str], folder: str, runs: Sequence[TrainingRun], checkpoint: str | None
) -> HeatMaps:
    """Grad-CAM of the predicted classes of images.

    Args:
        predictions: Those of the model.
        files: The images, by their names in the predictions.
        folder: What the names are relative to.
        runs: Where a checkpoint may be, if none is given: the run whose model and classes are those of the scores.
        checkpoint: The checkpoint that made the scores.
    """
    try:
        path = checkpoint or _find(predictions, runs)
        classifier = load_classifier(path)
        if predictions.has_names and classifier.class_names not in (None, predictions.class_names.tolist()):
            raise ValueError(f'{path} has other classes than the scores')
        pictures, same = _draw(classifier, predictions, files, folder)
    except (ValueError, OSError) as e:
        return HeatMaps({}, f'Grad-CAM is left out: {e}.')
    if not pictures:
        return HeatMaps({}, 'Grad-CAM is left out: none of the images can be read.')
    seen = f'in {same} of {plural(len(pictures), "image")}'
    if 2 * same < len(pictures):
        return HeatMaps(
            {}, f'Grad-CAM is left out: {path} agrees with the scores {seen}, so they are not of its network.'
        )
    note = f'Grad-CAM of {path}: bright is what speaks for the predicted class.'
    return HeatMaps(pictures, f'{note} By one view of each it predicts the class of the score file {seen}.')


def _find(predictions: Predictions, runs: Sequence[TrainingRun]) -> str:
    """The only run with a checkpoint whose model and classes are those of the scores."""
    found = []
    for run in runs:
        try:
            checkpoint = Checkpoint.read(run.path, mmap=True)
        except FileNotFoundError:
            continue
        if checkpoint.model == predictions.model and checkpoint.num_classes == len(predictions.class_names):
            found.append(run.path)
    if len(found) != 1:
        raise ValueError(f'{len(found) or "no"} runs here have a checkpoint of this model; name it with --checkpoint')
    return found[0]


def _draw(
    classifier: Classifier, predictions: Predictions, files: Sequence[str], folder: str
) -> tuple[dict[str, str], int]:
    """The pictures, and in how many of them the network predicts the class of the score file."""
    images = {name: open_image(folder, name, classifier.mode) for name in files}
    names = [name for name, image in images.items() if not isinstance(image, str)]
    rows = {name: row for row, name in enumerate(predictions.filenames.tolist())}
    pictures, same = {}, 0
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        batch = torch.stack([classifier.transform(images[name]) for name in some])
        classes = torch.tensor([int(predictions.predicted[rows[name]]) for name in some])
        maps, logits = grad_cam(classifier.model, batch, classes)
        same += int((logits.argmax(dim=1) == classes).sum())
        for name, pixels, heat in zip(some, batch, maps, strict=True):
            pictures[name] = data_uri(_overlay(to_image(pixels, classifier.data_config), heat))
    return pictures, same


def _overlay(image: Image.Image, heat: torch.Tensor) -> Image.Image:
    """The heat over the gray image, as large as a thumbnail."""
    scale = THUMBNAIL / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    heat = F.interpolate(heat[None, None], (height, width), mode='bilinear')[0, 0]
    colors = colormaps['inferno']((heat / heat.max().clamp(min=1e-12)).numpy(), bytes=True)[..., :3]
    gray = image.convert('L').resize(
        (width, height), Image.Resampling.BICUBIC if scale < 1 else Image.Resampling.NEAREST
    )
    return Image.blend(gray.convert('RGB'), Image.fromarray(colors), 0.6)
