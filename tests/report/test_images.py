"""Thumbnails of a report: of images of any kind as the model saw them, and of nothing outside the folder."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.data.datasets import decode
from timm_vipriors.report.images import thumbnail


def picture(folder, name, size=(300, 200), **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (200, 30, 30)).save(path, **options)


def shown(folder, name) -> Image.Image:
    source, _ = thumbnail(str(folder), name)
    return Image.open(io.BytesIO(base64.b64decode(source.removeprefix('data:image/jpeg;base64,'))))


@pytest.mark.parametrize(
    'name', ['../a.png', 'b/../../a.png', 'b/..', '/etc/hostname', '..', 'a.png\0', '../images2/a.png']
)
def test_names_do_not_lead_out_of_the_folder(tmp_path, name):
    picture(tmp_path, 'a.png')
    (tmp_path / 'images/b').mkdir(parents=True)
    assert thumbnail(str(tmp_path / 'images'), name).startswith('refused')


@pytest.mark.parametrize('mode', ['L', 'LA', 'P', 'RGBA', '1', 'CMYK', 'I;16'])
def test_a_thumbnail_shows_what_the_model_sees(tmp_path, mode):
    """That the colours are right is the decoder's business, and tested there."""
    name = 'a.png' if mode in ('LA', 'I;16') else 'a.tif'
    Image.new(mode, (400, 40), {'I;16': 30_000, 'L': 90}.get(mode, 0)).save(tmp_path / name)
    with open(tmp_path / name, 'rb') as file:
        expected = decode(file, name, 'RGB').resize((160, 16))
    assert thumbnail(str(tmp_path), name)[1] == 400
    assert np.abs(np.asarray(shown(tmp_path, name), dtype=int) - np.asarray(expected)).max() <= 3


def test_a_thumbnail_is_not_turned_as_the_model_saw_the_image_unturned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new('RGB', (400, 200)).save(tmp_path / 'turned.jpg', exif=exif)
    assert shown(tmp_path, 'turned.jpg').size == (160, 80)


def test_links_in_the_folder_are_followed_as_subsets_are_made_of_them(tmp_path):
    picture(tmp_path, 'source/a.png')
    (tmp_path / 'subset').mkdir()
    (tmp_path / 'subset/a.png').symlink_to(tmp_path / 'source/a.png')
    assert isinstance(thumbnail(str(tmp_path / 'subset'), 'a.png'), tuple)


def test_too_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    picture(tmp_path, 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert thumbnail(str(tmp_path), 'a.png') == 'cannot be read as an image'
