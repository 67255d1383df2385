"""An image in a cache behaves as the same image that is no longer there."""

import copy
import pickle

import numpy as np
import pytest
from PIL import Image

from timm_vipriors.data import lsb_swap
from timm_vipriors.data.cached_image import CachedImage

BOXES = [(0, 0, 31, 20), (3, 5, 17, 19), (30, 19, 31, 20), (2.6, 3.5, 9.2, 9.5), (-4, -4, 9, 9), (20, 9, 40, 30), None]


def noise(mode, height=20, width=31, seed=0):
    shape = (height, width) if mode == 'L' else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('k', [0, 2, 8])
def test_what_is_done_with_an_image(mode, k):
    donors = [Image.fromarray(noise(mode, 9, 12, 1)), CachedImage(noise(mode, 40, 45, 1))]
    for donor in donors if k else [None]:
        plain, pixels = Image.fromarray(noise(mode)), noise(mode)
        if k:
            plain = lsb_swap(plain, copy.copy(donor), k, (3, 1))

        def lazy(pixels=pixels, donor=donor):
            return CachedImage(pixels).swapped(donor, k, (3, 1)) if k else CachedImage(pixels)

        assert (lazy().mode, lazy().size) == (plain.mode, plain.size)
        for box in BOXES:
            assert lazy().crop(box).tobytes() == plain.crop(box).tobytes(), box
        for act in (
            np.asarray,
            copy.copy,
            copy.deepcopy,
            lambda img: pickle.loads(pickle.dumps(img)),
            Image.Image.copy,
        ):
            assert np.array_equal(np.asarray(act(lazy())), np.asarray(plain))
        for act in (lambda img: img.resize((9, 9)), lambda img: img.rotate(30), lambda img: Image.blend(img, img, 0.3)):
            assert act(lazy()).tobytes() == act(plain).tobytes()
        img = lazy()
        img.putpixel((0, 0), 1)
        assert img.tobytes() != plain.tobytes()
        assert img.crop((0, 0, 1, 1)).getpixel((0, 0)) != plain.getpixel((0, 0)) or plain.getpixel((0, 0)) == 1
        assert np.array_equal(pixels, noise(mode))  # the cache stays


def test_boxes_that_are_none():
    with pytest.raises(ValueError, match="'right' is less than 'left'"):
        CachedImage(noise('L')).crop((9, 0, 3, 5))


def test_two_swaps():
    """The second does not undo the first, which may have had more bits."""
    image, first, second = (CachedImage(noise('RGB', seed=seed)) for seed in range(3))
    result = image.swapped(first, 4, (0, 0)).swapped(second, 2, (0, 0))
    expected = lsb_swap(lsb_swap(noise('RGB'), noise('RGB', seed=1), 4), noise('RGB', seed=2), 2)
    assert np.array_equal(np.asarray(result), expected)
