"""What speaks for a mistake: Grad-CAM over the images, by the network that made the scores."""

from collections.abc import Sequence

import torch
from matplotlib import colormaps
from PIL import Image, ImageOps
from torch.nn import functional as F

from ..checkpoint import Checkpoint
from ..files import plural
from ..inference.classifier import Classifier, load_classifier
from ..inference.grad_cam import grad_cam
from .images import THUMBNAIL, data_uri, open_image, to_image
from .measures import Predictions
from .runs import TrainingRun

_AT_ONCE = 8  # images


def heat_maps(
    predictions: Predictions, files: Sequence[str], folder: str, runs: Sequence[TrainingRun], checkpoint: str | None
) -> tuple[dict[str, str], str]:
    """Grad-CAM of the predicted classes of images.

    Args:
        predictions: Those of the model.
        files: The images, by their names in the predictions.
        folder: What the names are relative to.
        runs: Where a checkpoint may be, if none is given: the run whose model and classes are those of the scores.
        checkpoint: The checkpoint that made the scores.

    Returns:
        Data URIs of the pictures by file name, and a sentence that says what they are of, or why there are none.
    """
    try:
        path = checkpoint or _find(predictions, runs)
        classifier = load_classifier(path)
        if predictions.has_names and classifier.class_names not in (None, predictions.class_names.tolist()):
            raise ValueError(f'{path} has other classes than the scores')
        pictures, same = _draw(classifier, predictions, files, folder)
        if not pictures:
            raise ValueError('none of the images can be read')
        seen = f'in {same} of {plural(len(pictures), "image")}'
        if 2 * same < len(pictures):
            raise ValueError(f'{path} agrees with the scores {seen}, so they are not of its network')
    except (ValueError, OSError) as e:
        return {}, f'Grad-CAM is left out: {e}.'
    note = f'Grad-CAM of {path}: bright is what speaks for the predicted class.'
    return pictures, f'{note} By one view of each it predicts the class of the score file {seen}.'


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
    how = Image.Resampling.NEAREST if max(image.size) < THUMBNAIL else Image.Resampling.BICUBIC
    image = ImageOps.contain(image.convert('L'), (THUMBNAIL, THUMBNAIL), how)
    heat = F.interpolate(heat[None, None], image.size[::-1], mode='bilinear')[0, 0]
    colors = colormaps['inferno']((heat / heat.max().clamp(min=1e-12)).numpy(), bytes=True)[..., :3]
    return Image.blend(image.convert('RGB'), Image.fromarray(colors), 0.6)
