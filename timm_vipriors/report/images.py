"""Thumbnails for a page, as data URIs."""

import base64
import io
import warnings
from pathlib import Path, PurePath

THUMBNAIL = 160  # pixels of the longer side


def thumbnail(folder: str, name: str) -> tuple[str, int] | str:
    """A small JPEG of an image as the model saw it, by the decoder of training and prediction.

    Like there an image is not turned by its EXIF orientation, so a photo of a phone may lie on its side here too.

    Args:
        folder: Where the images lie.
        name: The image's name, relative to the folder. It comes from a score file, which need not be the user's own.

    Returns:
        The data URI and the longer side of the image as it was, in pixels; or why there is none, in a few words.
    """
    from ..data.datasets import CorruptImageError, decode

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
            image = decode(content, name, 'RGB')
    except (CorruptImageError, OSError):
        return 'cannot be read as an image'
    size, out = max(image.size), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(out, 'JPEG', quality=82, optimize=True)
    return 'data:image/jpeg;base64,' + base64.b64encode(out.getvalue()).decode(), size
