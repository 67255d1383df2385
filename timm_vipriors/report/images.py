"""Thumbnails for a page, as data URIs."""

import base64
import io
import warnings
from pathlib import Path, PurePath
from typing import Any

import torch
from PIL import Image
from timm.data.loader import adapt_to_chs
from torchvision.transforms.functional import to_pil_image

from ..data.datasets import CorruptImageError, decode

THUMBNAIL = 160  # pixels of the longer side


def open_image(folder: str, name: str, mode: str = 'RGB') -> Image.Image | str:
    """An image as the model saw it, by the decoder of training and prediction; or why there is none, in a few words.

    Like there an image is not turned by its EXIF orientation, so a photo of a phone may lie on its side here too.

    Args:
        folder: Where the images lie.
        name: The image's name, relative to the folder. It comes from a score file, which need not be the user's own.
        mode: RGB, or L for a network of one channel.
    """
    path = PurePath(name)
    # by its name alone: links that lie in the folder are the user's own, and subsets are made of them
    if path.is_absolute() or path.drive or '..' in path.parts or '\0' in name:
        return 'refused: the name leads out of the folder'
    file = Path(folder, path)
    if not file.is_file():
        return 'not a file' if file.exists() else 'file not found'
    try:
        with warnings.catch_warnings(), file.open('rb') as content:
            warnings.simplefilter('ignore')  # of broken metadata
            return decode(content, name, mode)
    except (CorruptImageError, OSError):
        return 'cannot be read as an image'


def thumbnail(folder: str, name: str) -> tuple[str, int] | str:
    """The data URI of a small JPEG, and the longer side of the image as it was, in pixels; or why there is none."""
    image = open_image(folder, name)
    return image if isinstance(image, str) else (data_uri(image), max(image.size))


def data_uri(image: Image.Image) -> str:
    """An image as a small JPEG in a data URI."""
    image, out = image.copy(), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(out, 'JPEG', quality=82, optimize=True)
    return 'data:image/jpeg;base64,' + base64.b64encode(out.getvalue()).decode()


def to_image(pixels: torch.Tensor, data_config: dict[str, Any]) -> Image.Image:
    """The image of a network's input (C, H, W), whose normalization is undone; the first three channels of more."""
    mean, std = (torch.tensor(adapt_to_chs(data_config[key], len(pixels))).view(-1, 1, 1) for key in ('mean', 'std'))
    pixels = ((pixels.cpu() * std + mean) * 255).round().clamp(0, 255).byte()
    return to_pil_image(pixels if len(pixels) == 1 else pixels[:3])
