"""Thumbnails for a page, as data URIs."""

import base64
import io
import warnings
from pathlib import Path, PurePath

THUMBNAIL = 160  # pixels of the longer side


def thumbnail(folder: str, name: str) -> tuple[str, int] | str:
    """A small JPEG of an image.

    Args:
        folder: Where the images lie.
        name: The image's name, relative to the folder. It comes from a score file, which need not be the user's own.

    Returns:
        The data URI and the longer side of the image as it was, in pixels; or why there is none, in a few words.
    """
    from PIL import Image, ImageOps

    path = PurePath(name)
    # by its name alone: links that lie in the folder are the user's own, and subsets are made of them
    if path.is_absolute() or path.drive or '..' in path.parts or '\0' in name:
        return 'refused: the name leads out of the folder'
    file = Path(folder, path)
    if not file.is_file():
        return 'not a file' if file.exists() else 'file not found'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of broken metadata
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(file) as image:
                size = max(image.size)
                image.draft('RGB', (2 * THUMBNAIL, 2 * THUMBNAIL))  # lets the JPEG decoder skip pixels
                small = ImageOps.exif_transpose(image).convert('RGB')
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            out = io.BytesIO()
            small.save(out, 'JPEG', quality=82, optimize=True)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 'too many pixels'
    except Exception:  # a decoder may raise anything on a broken file, and a tile is no reason to fail
        return 'cannot be read as an image'
    return 'data:image/jpeg;base64,' + base64.b64encode(out.getvalue()).decode(), size
