"""Thumbnails of a report: of images of any kind, and of nothing outside the folder."""

import base64
import io

import pytest
from PIL import Image

from timm_vipriors.report.images import thumbnail


def picture(folder, name, size=(300, 200), **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (200, 30, 30)).save(path, **options)


@pytest.mark.parametrize(
    'name', ['../a.png', 'b/../../a.png', 'b/..', '/etc/hostname', '..', 'a.png\0', '../images2/a.png']
)
def test_names_do_not_lead_out_of_the_folder(tmp_path, name):
    picture(tmp_path, 'a.png')
    (tmp_path / 'images/b').mkdir(parents=True)
    assert thumbnail(str(tmp_path / 'images'), name).startswith('refused')


def test_odd_images_have_thumbnails(tmp_path):
    for i, mode in enumerate(['L', 'LA', 'P', 'RGBA', '1', 'I;16', 'F']):
        Image.new(mode, (40, 400)).save(tmp_path / f'{i}.tif' if mode != 'LA' else tmp_path / f'{i}.png')
    for path in tmp_path.iterdir():
        source, size = thumbnail(str(tmp_path), path.name)
        assert (source[:22], size) == ('data:image/jpeg;base64', 400), path
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new('RGB', (400, 200)).save(tmp_path / 'turned.jpg', exif=exif)
    with Image.open(io.BytesIO(base64.b64decode(thumbnail(str(tmp_path), 'turned.jpg')[0].split(',')[1]))) as small:
        assert small.size == (80, 160)


def test_links_in_the_folder_are_followed_as_subsets_are_made_of_them(tmp_path):
    picture(tmp_path, 'source/a.png')
    (tmp_path / 'subset').mkdir()
    (tmp_path / 'subset/a.png').symlink_to(tmp_path / 'source/a.png')
    assert isinstance(thumbnail(str(tmp_path / 'subset'), 'a.png'), tuple)


def test_too_many_pixels(tmp_path, monkeypatch):
    picture(tmp_path, 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50_000)
    assert thumbnail(str(tmp_path), 'a.png') == 'too many pixels'
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert thumbnail(str(tmp_path), 'a.png') == 'too many pixels'
