"""Image files of all kinds: each is read as Pillow reads it, with 16 bits scaled to 8, or refused by its name."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from timm.data import create_dataset

from timm_vipriors.data import StrictImageDataset
from timm_vipriors.data.datasets import CorruptImageError, decode
from timm_vipriors.data.subset import make_subset
from timm_vipriors.errors import UserError
from timm_vipriors.report.images import thumbnail
from timm_vipriors.scripts.folders import Folders, find_images

from .cases import ACCEPTED, REFUSED, at_scale, attempt, damaged, run_cases


def _bytes(image: Image.Image, form: str, **kwargs) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **kwargs)
    return out.getvalue()


def _huge_png(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0' * 99)) + chunk(b'IEND', b'')
    )


def _corpus() -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    palette = image.quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    return {
        'png': _bytes(image, 'PNG'),
        'grey16': _bytes(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), 'PNG'),
        'palette': _bytes(palette, 'PNG', transparency=3),
        'palette_bytes': _bytes(palette, 'PNG', transparency=bytes(range(16))),
        'rgba': _bytes(image.convert('RGBA'), 'PNG'),
        'one_bit': _bytes(image.convert('1'), 'PNG'),
        'jpeg': _bytes(image, 'JPEG'),
        'progressive': _bytes(image, 'JPEG', progressive=True),
        'cmyk': _bytes(image.convert('CMYK'), 'JPEG'),
        'rotated': _bytes(image, 'JPEG', exif=exif),
        'animated_gif': _bytes(palette, 'GIF', save_all=True, append_images=[image.rotate(90).quantize(8)]),
        'animated_webp': _bytes(image, 'WEBP', save_all=True, append_images=[image.rotate(180)]),
        'animated_png': _bytes(image, 'PNG', save_all=True, append_images=[image.rotate(180)]),
        'tiff': _bytes(image, 'TIFF'),
        'tiff_lzw': _bytes(image, 'TIFF', compression='tiff_lzw'),
        'tiff16': _bytes(Image.fromarray(pixels[..., 0].astype(np.uint16)), 'TIFF'),
        'bmp': _bytes(image, 'BMP'),
        'ico': _bytes(image, 'ICO', sizes=[(20, 24)], bitmap_format='bmp'),
        'tga': _bytes(image, 'TGA'),
        'ppm': _bytes(image, 'PPM'),
    }


CORPUS = _corpus()
HUGE = {'bomb': _huge_png(60_000, 60_000), 'wide': _huge_png(2**31 - 1, 1), 'nothing': _huge_png(0, 0)}


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch):
    """Damaged headers say any size; a limit of a megapixel keeps the cases fast."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1 << 20)


def _reference(content: bytes, mode: str | None) -> np.ndarray:
    plain = Image.open(io.BytesIO(content))
    if mode is None or plain.mode[0] not in 'IF':
        return np.asarray(plain if mode is None else plain.convert(mode))  # None would turn a palette into RGB
    assert plain.mode.startswith('I;16')
    tags = getattr(plain, 'tag_v2', {})
    grey = np.asarray(plain).astype(np.float64) / (2 ** tags.get(258, (16,))[0] - 1)
    grey = np.rint(255 * (1 - grey if tags.get(262) == 0 else grey)).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).convert(mode))


@pytest.mark.filterwarnings('ignore:Palette images with Transparency:UserWarning')
def test_the_corpus_is_read_as_pillow_reads_it():
    """16 bits, CMYK, palettes, the first frame of an animation; EXIF's orientation is ignored, as timm does."""
    for name, content in CORPUS.items():
        read = decode(io.BytesIO(content), name, 'RGB')
        assert read.mode == 'RGB'
        assert read.size == (20, 24), name
        assert np.array_equal(read, _reference(content, 'RGB')), name
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(CORPUS['rotated'])))
    assert turned.size == (24, 20)
    for name, content in HUGE.items():
        with pytest.raises(CorruptImageError, match=f'^{name} '):
            decode(io.BytesIO(content), name)


@at_scale(100, 3000)
def test_damaged_images(number):
    names = list(CORPUS)

    def check(rng) -> str:
        content = damaged(rng, CORPUS[rng.choice(names)])
        try:
            mode = rng.choice([None, 'RGB', 'L'])
            read = decode(io.BytesIO(content), 'the/file.png', mode)
        except CorruptImageError as e:
            assert 'the/file.png' in e.sentence
            assert '\n' not in e.sentence
            return REFUSED
        read, plain = np.asarray(read), _reference(content, mode)
        assert np.array_equal(read, plain, equal_nan=plain.dtype.kind == 'f')
        return ACCEPTED

    outcomes = run_cases('damaged images', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > number / 20


def _write_odd(rng, folder: bytes) -> bool:
    """Put one odd entry into a class folder; whether its content can be read."""
    stem = rng.choice([b'plain', b'new\nline', b'not\xffutf8', 'ünï😀'.encode(), b' ', b'-dash', b'x' * 230, b'%s{}'])
    path = os.path.join(folder, stem + b'-%d' % rng.randrange(10**6) + rng.choice([b'.png', b'.JPG', b'.jpeg']))
    kind = rng.choice(['good', 'good', 'good', 'cut', 'empty', 'link', 'broken link', 'bomb', 'text', 'pipe'])
    if kind == 'broken link':
        os.symlink(b'/nowhere/at/all', path)
        return False
    if kind == 'pipe':
        os.mkfifo(path)
        return False
    content = CORPUS[rng.choice(list(CORPUS))]
    if kind == 'link':
        with open(path + b'.target', 'wb') as file:
            file.write(content)
        os.symlink(path + b'.target', path)
        return True
    with open(path, 'wb') as file:
        file.write(
            {'cut': content[: len(content) // 3], 'empty': b'', 'bomb': HUGE['bomb'], 'text': b'no image'}.get(
                kind, content
            )
        )
    return kind == 'good'


@at_scale(15, 400)
def test_folders_with_odd_files(number, tmp_path, capfd):
    """`--check-images` says how many cannot be read, whatever their names are, and never waits for a pipe."""

    def check(rng) -> str:
        root = tmp_path / str(rng.random())
        good = 0
        for label in ('a', 'b\nc'):
            (root / label).mkdir(parents=True)
            (root / label / 'folder.png').mkdir()  # a directory with the name of an image
            (root / label / 'sure.png').write_bytes(CORPUS['png'])
            good += 1 + sum(_write_odd(rng, os.fsencode(root / label)) for _ in range(rng.randrange(4)))
        folders = Folders(str(root), {'': 'train'})
        reader = folders.readers['']
        bad = len(reader) - good
        assert set(reader.class_to_idx) == {'a', 'b\nc'}
        _, sentence = attempt(lambda: folders.check_images('RGB'))
        capfd.readouterr()
        assert (sentence is not None) == (bad > 0)
        if sentence is None:
            return ACCEPTED
        assert sentence.startswith(f'{bad} of {len(reader)} images cannot be read')
        return REFUSED

    outcomes = run_cases('image folders', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0


@at_scale(15, 500)
def test_subsets_of_odd_files(number, tmp_path, capfd):
    """A subset holds files of the source with their own names, or nothing is made."""

    def check(rng) -> str:
        root = tmp_path / str(rng.random())
        source, dst = root / 'source', root / 'dst'
        for label in ('a', 'b c'):
            (source / label).mkdir(parents=True)
            for i in range(2):
                (source / label / f'sure{i}.png').write_bytes(CORPUS['png'])
            for _ in range(rng.randrange(2)):
                _write_odd(rng, os.fsencode(source / label))
            if rng.random() < 0.1:
                (source / label / 'folder.png').mkdir()
        before = sorted(os.walk(source))
        copy = rng.random() < 0.5
        counts, sentence = attempt(
            lambda: make_subset(source, dst, {'train': 1, 'val': 1}, seed=rng.randrange(9), copy=copy)
        )
        capfd.readouterr()
        assert sorted(os.walk(source)) == before
        if sentence is not None:
            assert not dst.exists()
            assert '\n' not in sentence
            return REFUSED
        assert counts == {'train': 2, 'val': 2}
        made = list(dst.glob('*/*/*'))
        assert len(made) == len({(path.parent.name, path.name) for path in made}) == 4  # no image in both splits
        for path in made:
            assert path.read_bytes() == (source / path.parent.name / path.name).read_bytes()
            assert path.is_symlink() != copy
        return ACCEPTED

    outcomes = run_cases('subsets of odd files', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0


@at_scale(20, 600)
def test_thumbnails_of_damaged_images(number, tmp_path):
    def check(rng) -> str:
        content = damaged(rng, CORPUS[rng.choice(list(CORPUS))])
        (tmp_path / 'x.png').write_bytes(content)
        found = thumbnail(str(tmp_path), 'x.png')
        if isinstance(found, str):
            assert found in ('too many pixels', 'cannot be read as an image')
            return REFUSED
        assert found[0].startswith('data:image/jpeg;base64,')
        assert found[1] == max(Image.open(io.BytesIO(content)).size)
        return ACCEPTED

    outcomes = run_cases('thumbnails', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0


def test_a_data_set_names_the_image_that_fails(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'good.png').write_bytes(CORPUS['cmyk'])
    (tmp_path / 'a' / 'bad.png').write_bytes(CORPUS['png'][:50])
    dataset = StrictImageDataset.of(create_dataset('', root=str(tmp_path), split='train'))
    with pytest.raises(CorruptImageError, match=r'a/bad\.png'):
        dataset[0]
    assert dataset[1][0].mode == 'RGB'


@pytest.mark.parametrize('name', ['²', '٣²', '½', '①'])
def test_class_folders_whose_names_look_like_numbers(tmp_path, name):
    """timm sorts names by the numbers in them, and fails on some signs that look like digits."""
    (tmp_path / name).mkdir()
    (tmp_path / name / 'x.png').write_bytes(CORPUS['png'])
    reader, sentence = attempt(lambda: find_images(str(tmp_path), 'train', ''))
    assert (reader and list(reader.class_to_idx) == [name]) or repr(name) in sentence or str(tmp_path) in sentence


@pytest.mark.parametrize('content', [b'', b'no tar', b'\0' * 2000])
def test_a_broken_tar_file_as_data(tmp_path, content):
    path = tmp_path / 'data.tar'
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'data\.tar'):
        find_images(str(path), 'train', '')


@pytest.mark.parametrize('content', [b'\xff\xfe', b'\x80\x04K', b''])
@pytest.mark.parametrize('suffix', ['.txt', '.pkl', '.csv'])
def test_a_broken_class_map(tmp_path, suffix, content):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'x.png').write_bytes(CORPUS['png'])
    path = tmp_path / f'map{suffix}'
    path.write_bytes(content)
    with pytest.raises(UserError, match=f'map{suffix}|no images'):
        find_images(str(tmp_path), 'train', str(path))


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path):
    (tmp_path / 'a').mkdir()
    os.mkfifo(tmp_path / 'a' / 'pipe.png')
    with pytest.raises(UserError, match=r'pipe\.png is not a file'):
        Folders(str(tmp_path), {'': 'train'}).check_images('RGB')
