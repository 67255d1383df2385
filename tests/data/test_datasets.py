"""What an image file becomes: the right pixels, or an error that names it; and which files are images."""

import io
import os
import re
import struct
import traceback
from collections import Counter

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image, ImageCms
from timm.data import create_dataset, create_loader

from timm_vipriors.data import (
    CorruptImageError,
    StrictImageDataset,
    image_extensions,
    register_image_extensions,
    skipped_files,
)
from timm_vipriors.data.datasets import decode, describe_skipped, drop_hidden


@pytest.fixture
def folder(tmp_path):
    for label in 'ab':
        (tmp_path / label).mkdir()
        for i in range(3):
            Image.effect_noise((40, 40), 90).save(tmp_path / label / f'{i}.png')
    return tmp_path


@pytest.mark.filterwarnings('ignore::ResourceWarning', 'ignore::pytest.PytestUnraisableExceptionWarning')
def test_good_images_are_timms(folder):  # whose data set leaves its files open
    theirs = create_dataset('', root=str(folder))
    ours = StrictImageDataset.of(create_dataset('', root=str(folder)))
    assert len(ours) == len(theirs) == 6
    for i in range(6):
        (a, y), (b, z) = ours[i], theirs[i]
        assert a.mode == b.mode == 'RGB'
        assert a.tobytes() == b.tobytes()
        assert y == z == i // 3
    ours.target_transform = theirs.target_transform = lambda y: y + 5
    ours.transform = theirs.transform = lambda img: img.size
    assert ours[0] == theirs[0] == ((40, 40), 5)


# an image that cannot be decoded is named


def error_of_a_loader(dataset):
    loader = create_loader(dataset, (3, 40, 40), batch_size=6, num_workers=1, device=torch.device('cpu'))
    try:
        list(loader)
    except CorruptImageError as e:
        traceback.clear_frames(e.__traceback__)  # which keep the loader, whose process ends with it
        return str(e)
    return 'there was no error'


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda data: data[: len(data) // 2], r'b/1.png cannot be decoded: .*truncated'),
        (lambda data: b'hello, world', r'b/1.png is not an image that Pillow can read'),
    ],
    ids=['truncated', 'text'],
)
def test_a_broken_image_is_named(folder, damage, message):
    path = folder / 'b' / '1.png'
    path.write_bytes(damage(path.read_bytes()))
    dataset = StrictImageDataset.of(create_dataset('', root=str(folder)))
    assert len(dataset[3]) == 2
    with pytest.raises(CorruptImageError, match=message):
        dataset[4]
    assert re.search(message, error_of_a_loader(dataset))


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('Failed to decode frame 0\nof an AVIF file'),
        NotImplementedError(),
        TypeError('unsupported'),
        MemoryError(),
        IndexError(),
        struct.error('unpack requires a buffer'),
        Image.DecompressionBombError('too large'),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize('method', ['load', 'convert'])
def test_whatever_a_decoder_raises(folder, monkeypatch, method, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(Image.Image, method, fail)
    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', fail)
    text = str(error).partition('\n')[0] or type(error).__name__
    with (folder / 'a' / '0.png').open('rb') as file, pytest.raises(CorruptImageError) as e:
        decode(file, 'a/0.png', 'RGB')
    assert e.value.sentence == str(e.value) == f'a/0.png cannot be decoded: {text}'


def test_an_interrupt_is_not_an_image(folder, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', interrupt)
    with (folder / 'a' / '0.png').open('rb') as file, pytest.raises(KeyboardInterrupt):
        decode(file, 'a/0.png')


# the pixels


def saved(image, form, **kwargs):
    out = io.BytesIO()
    image.save(out, form, **kwargs)
    out.seek(0)
    return out


def tiff(values, bits, photometric, fill=None):
    """A grey TIFF file, byte by byte: Pillow writes no file whose zero is white."""
    data = values.tobytes() if fill is None else fill
    height, width = values.shape
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1)]
    tags += [(278, height), (279, len(data))]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return io.BytesIO(b'II*\0' + struct.pack('<I', 8) + struct.pack('<H', len(tags)) + entries + bytes(4) + data)


def twelve_bits():
    """A TIFF file with two values of 12 bits in three bytes, and the values."""
    values = np.array([[0, 1, 8, 9, 2047, 2048, 4094, 4095]], np.uint16)
    pairs = values.reshape(-1, 2).tolist()
    packed = b''.join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    return tiff(values, 12, 1, packed), values


SIXTEEN = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
GREY16 = {
    'PNG': lambda: saved(Image.fromarray(SIXTEEN), 'PNG'),
    'TIFF': lambda: saved(Image.fromarray(SIXTEEN), 'TIFF'),
    'TIFF of the other byte order': lambda: saved(
        Image.frombytes('I;16B', (256, 256), SIXTEEN.astype('>u2').tobytes()), 'TIFF'
    ),
    'PGM': lambda: io.BytesIO(b'P5 256 256 65535\n' + SIXTEEN.astype('>u2').tobytes()),
    'JPEG2000': lambda: saved(Image.fromarray(SIXTEEN), 'JPEG2000'),
}


@pytest.mark.parametrize('form', GREY16)
@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_grey_of_16_bits_is_scaled(form, mode):
    expected = np.rint(SIXTEEN.astype(np.float64) * 255 / 65535).astype(np.uint8)
    image = decode(GREY16[form](), 'x', mode)
    assert image.mode == mode
    pixels = np.asarray(image)
    assert np.array_equal(pixels, expected if mode == 'L' else np.stack([expected] * 3, -1))
    assert np.asarray(decode(GREY16[form](), 'x')).max() == 65535  # as it is where no mode is asked for
    assert np.asarray(decode(GREY16[form](), 'x', 'F')).max() == 65535


def test_grey_of_12_bits_and_grey_whose_zero_is_white():
    file, values = twelve_bits()
    assert np.array_equal(decode(file, 'x', 'L'), np.rint(values.astype(np.float64) * 255 / 4095))
    inverted = np.rint(255 - SIXTEEN.astype(np.float64) * 255 / 65535)
    assert np.array_equal(decode(tiff(SIXTEEN.astype('<u2'), 16, 0), 'x', 'L'), inverted)
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(decode(tiff(eight, 8, 0), 'x', 'L'), 255 - eight)
    assert np.array_equal(decode(tiff(eight, 8, 1), 'x', 'L'), eight)


@pytest.mark.parametrize('values', [np.float32([[0.0, 0.5, 1.0]]), np.int32([[0, 255, 70000]]), np.int32([[-5, 0, 9]])])
@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_pixels_without_a_known_range_are_refused(values, mode):
    with pytest.raises(
        CorruptImageError, match=r'a/x\.tif cannot be decoded: its pixels have 32 bits and no known range'
    ):
        decode(saved(Image.fromarray(values), 'TIFF'), 'a/x.tif', mode)
    assert np.array_equal(decode(saved(Image.fromarray(values), 'TIFF'), 'x'), values)


def test_a_mode_that_pillow_cannot_convert_is_refused_by_name():
    lab = ImageCms.applyTransform(
        Image.new('RGB', (4, 4)),
        ImageCms.buildTransform(ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'), 'RGB', 'LAB'),
    )
    assert decode(saved(lab, 'TIFF'), 'a/x.tif', 'RGB').mode == 'RGB'
    with pytest.raises(CorruptImageError, match=r'a/x\.tif cannot be decoded: conversion from LAB'):
        decode(saved(lab, 'TIFF'), 'a/x.tif', 'L')


def noise(channels):
    return np.random.default_rng(0).integers(0, 256, (24, 20, channels), dtype=np.uint8)


def colours(kind):
    """A file, and its colours in float64."""
    rgb = noise(3).astype(np.float64)
    if kind == 'cmyk jpeg':
        smooth = Image.fromarray(noise(4), 'CMYK').resize((200, 240), Image.Resampling.BICUBIC)
        values = np.asarray(smooth).astype(np.float64)
        expected = (255 - values[..., :3]) * (255 - values[..., 3:]) / 255
        return saved(smooth, 'JPEG', quality=100, subsampling=0), expected, 12
    if kind == 'cmyk tiff':
        values = noise(4).astype(np.float64)
        expected = (255 - values[..., :3]) * (255 - values[..., 3:]) / 255
        return saved(Image.fromarray(noise(4), 'CMYK'), 'TIFF'), expected, 1
    if kind.startswith('palette'):
        palette = noise(3).reshape(-1, 3)[:16]
        indices = noise(1)[..., 0] % 16
        image = Image.fromarray(indices, 'P')
        image.putpalette(palette.tobytes())
        keys = {
            'palette': {},
            'palette key': dict(transparency=3),
            'palette alpha': dict(transparency=bytes(range(16))),
        }
        return saved(image, 'PNG', **keys[kind]), palette.astype(np.float64)[indices], 0
    if kind == 'rgb key':
        return saved(Image.fromarray(noise(3)), 'PNG', transparency=tuple(noise(3)[0, 0].tolist())), rgb, 0
    if kind == 'rgba':
        return saved(Image.fromarray(noise(4)), 'PNG'), noise(4)[..., :3].astype(np.float64), 0
    if kind == 'grey alpha':
        return saved(Image.fromarray(noise(2)), 'PNG'), np.repeat(noise(2)[..., :1], 3, -1).astype(np.float64), 0
    assert kind == 'one bit'
    bits = noise(1)[..., 0] > 127
    return saved(Image.fromarray(bits), 'PNG'), np.stack([bits * 255.0] * 3, -1), 0


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    'kind',
    ['cmyk jpeg', 'cmyk tiff', 'palette', 'palette key', 'palette alpha', 'rgb key', 'rgba', 'grey alpha', 'one bit'],
)
def test_colours_of_other_modes(kind):
    """Alpha is left out, as timm leaves it out: the colours under it are those of the file."""
    file, expected, tolerance = colours(kind)
    image = decode(file, 'x', 'RGB')
    assert image.mode == 'RGB'
    assert np.abs(np.asarray(image).astype(np.float64) - expected).max() <= tolerance
    assert 'transparency' not in image.info


# which files are images


@pytest.fixture
def timms_endings():
    before = timm.data.get_img_extensions()
    yield before
    timm.data.set_img_extensions(before)


def test_endings(timms_endings):
    endings = image_extensions()
    assert endings > set(timms_endings)
    assert endings >= set('.webp .avif .bmp .gif .tif .tiff .jfif .jp2 .ppm'.split())
    assert not endings & set('.eps .ps .pdf .wmf .mpg .h5 .txt .csv'.split())  # reading .eps starts another program
    register_image_extensions()
    register_image_extensions()
    assert timm.data.get_img_extensions(as_set=True) == endings
    assert timm.data.get_img_extensions()[: len(timms_endings)] == timms_endings


def test_timm_reads_files_of_all_endings(tmp_path, timms_endings):
    (tmp_path / 'a').mkdir()
    for name in ('0.png', '1.webp', '2.BMP', '3.tif', '4.gif', '5.txt'):
        Image.new('RGB', (8, 8), 'red').save(tmp_path / 'a' / name, 'PNG' if name == '5.txt' else None)
    assert len(create_dataset('', root=str(tmp_path)).reader) == 1
    register_image_extensions()
    dataset = StrictImageDataset.of(create_dataset('', root=str(tmp_path)))
    assert len(dataset) == 5
    assert all(np.allclose(image.getpixel((0, 0)), (255, 0, 0), atol=2) for image, _ in dataset)


def test_skipped_files(tmp_path):
    for name in ('a/0.png', 'a/1.WEBP', 'a/2.txt', 'b/c/3.TXT', 'b/4', 'b/.5.txt', '.git/6.txt', '7.raw'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert skipped_files(tmp_path) == {'.txt': 2, 'no ending': 1, '.raw': 1}
    assert skipped_files(tmp_path / 'nowhere') == Counter()
    many = describe_skipped(Counter({f'.{i}': 1000 * (9 - i) for i in range(7)}))
    assert many.endswith(': .0 (9,000), .1 (8,000), .2 (7,000), .3 (6,000), .4 (5,000) and 2 more')


@pytest.mark.parametrize('class_map', [None, {'cat': 5, 'dog': 3}])
def test_hidden_folders_are_not_classes(tmp_path, class_map):
    for name in ('cat/0.png', 'cat/._0.png', 'dog/1.png', '.cache/2.png', '.trash/dog/3.png', '.trash/old/4.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / name)
    reader = create_dataset('', root=str(tmp_path), class_map=class_map or '').reader
    if not class_map:
        assert set(reader.class_to_idx) == {'.cache', 'cat', 'dog', 'old'}  # timm's
    drop_hidden(reader, class_map)
    assert reader.class_to_idx == (class_map or {'cat': 0, 'dog': 1})
    found = {(os.path.relpath(path, tmp_path), target) for path, target in reader.samples}
    assert found == {('cat/0.png', reader.class_to_idx['cat']), ('dog/1.png', reader.class_to_idx['dog'])}
    unchanged = list(reader.samples)
    drop_hidden(reader, class_map)
    assert reader.samples == unchanged


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'it is empty, 0 bytes'),
        (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'a HEIC photo or a video: convert it to JPEG'),
        (b'\0\0\0\x20ftypisom\0\0\2\0isomiso2', 'a HEIC photo or a video'),
        (b'hello', '$'),
    ],
)
def test_what_is_no_image_is_named(content, words):
    with pytest.raises(CorruptImageError, match=f'^a.jpg is not an image that Pillow can read.*{words}'):
        decode(io.BytesIO(content), 'a.jpg')
