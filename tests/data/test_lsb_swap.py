import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms, tv_tensors
from torchvision.transforms import v2

from timm_vipriors.data import LSBSwap, lsb_swap

COLOURS = {'L': 1, 'LA': 1, 'RGB': 3, 'RGBA': 3}
OTHER_MODES = ('1', 'P', 'PA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'I', 'F', 'I;16', 'RGBX', 'RGBa', 'La')


def noise(height, width, channels=None, seed=0):
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(mode, height, width, seed=0):
    channels = len(mode) if mode != 'L' else None
    return Image.fromarray(noise(height, width, channels, seed))


def reference(image, donor, k, corner=(0, 0)):
    """Bit by bit, colour by colour, pixel by pixel; alpha as it is."""
    result = image.copy()
    channels = 1 if image.ndim == 2 else image.shape[2]
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            there = (corner[0] + row) % donor.shape[0], (corner[1] + column) % donor.shape[1]
            for channel in range({1: 1, 2: 1, 3: 3, 4: 3}[channels]):
                here = (row, column) + ((channel,) if image.ndim == 3 else ())
                other = there + ((channel,) if donor.ndim == 3 else ())
                bits = [(image[here] >> b) & 1 for b in range(8)]
                bits[:k] = [(donor[other] >> b) & 1 for b in range(k)]
                result[here] = sum(int(bit) << b for b, bit in enumerate(bits))
    return result


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
bits = st.integers(1, 8)


@given(
    sizes, sizes, bits, st.sampled_from([*COLOURS]), st.sampled_from([*COLOURS]), st.tuples(*[st.integers(0, 20)] * 2)
)
@settings(max_examples=150, deadline=None)
def test_pictures_of_any_size_and_mode(size, donor_size, k, mode, donor_mode, corner):
    image, donor = picture(mode, *size), picture(donor_mode, *donor_size, seed=1)
    before = image.tobytes(), donor.tobytes()
    if COLOURS[mode] != COLOURS[donor_mode]:
        with pytest.raises(ValueError, match=f'a donor that fits mode {mode}, got mode {donor_mode}: convert'):
            lsb_swap(image, donor, k, corner)
        return
    result = lsb_swap(image, donor, k, corner)
    assert (result.mode, result.size) == (mode, image.size)
    assert np.array_equal(np.asarray(result), reference(np.asarray(image), np.asarray(donor), k, corner))
    assert (image.tobytes(), donor.tobytes()) == before
    assert lsb_swap(result, image, k).tobytes() == image.tobytes()  # and back


@given(sizes, sizes, bits, st.sampled_from([None, 1, 2, 3, 4]), st.sampled_from(['array', 'tensor', 'batch']))
@settings(max_examples=100, deadline=None)
def test_arrays_and_tensors(size, donor_size, k, channels, kind):
    a, b = noise(*size, channels), noise(*donor_size, channels, seed=1)
    expected = reference(a, b, k)

    def form(x):
        if kind == 'array':
            return x
        tensor = torch.from_numpy(x) if x.ndim == 2 else torch.from_numpy(x).permute(2, 0, 1)
        return tensor if kind == 'tensor' or x.ndim == 2 else torch.stack([tensor, 255 - tensor])

    result = lsb_swap(form(a), form(b), k)
    assert type(result) is type(form(a))
    assert result.shape == form(a).shape
    first = result if kind != 'batch' or channels is None else result[0]
    values = np.asarray(first) if kind == 'array' or channels is None else np.asarray(first.permute(1, 2, 0))
    assert np.array_equal(values, expected)
    assert np.array_equal(a, noise(*size, channels))
    back = lsb_swap(result, form(a), k)
    assert (np.asarray(back) == np.asarray(form(a))).all()


@pytest.mark.parametrize('k', range(9))
def test_high_bits_stay_and_low_bits_come_from_the_donor(k):
    a, b = noise(40, 30, 3), noise(40, 30, 3, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore' if k == 0 else 'error')
        result = lsb_swap(a, b, k)
    assert np.array_equal(result >> k, a >> k)
    assert np.array_equal(result & ((1 << k) - 1), b & ((1 << k) - 1))
    assert np.array_equal(result, a) == (k == 0)
    assert np.array_equal(result, b) == (k == 8)


def test_no_bits_is_a_warning():
    with pytest.warns(UserWarning, match='lsb_swap with k=0 changes nothing'):
        assert np.array_equal(lsb_swap(noise(2, 2), noise(2, 2, seed=1), 0), noise(2, 2))
    with pytest.warns(UserWarning, match='LSBSwap with k=0 changes nothing'):
        swap = LSBSwap(0, p=1)
    image = picture('RGB', 4, 4)
    assert swap(image) is image
    assert swap(image) is image


@pytest.mark.parametrize('mode', OTHER_MODES)
def test_other_modes_are_an_error_that_says_what_to_do(mode):
    image, good = Image.new(mode, (3, 2)), picture('RGB', 2, 3)
    message = rf"expected an image of mode L, LA, RGB, RGBA, got {mode}: convert it first, as in image.convert\('RGB'\)"
    for a, b in ((image, good), (good, image)):
        with pytest.raises(ValueError, match=message):
            lsb_swap(a, b)
    with pytest.raises(ValueError, match=message):
        LSBSwap(2, p=1)(image)


@pytest.mark.parametrize(
    ('image', 'donor', 'error', 'message'),
    [
        (noise(2, 2), picture('L', 2, 2), TypeError, 'same type as the image, numpy.ndarray, got PIL.Image.Image'),
        (noise(2, 2), torch.zeros(2, 2, dtype=torch.uint8), TypeError, 'numpy.ndarray, got torch.Tensor'),
        ([[1]], [[2]], TypeError, 'expected a PIL image, a uint8 array or a uint8 tensor, got builtins.list'),
        (noise(2, 2) / 255, noise(2, 2), TypeError, 'type uint8, got float64: swap before they are scaled'),
        (torch.zeros(3, 2, 2), torch.zeros(3, 2, 2), TypeError, 'type uint8, got torch.float32'),
        (noise(2, 2, 3), noise(2, 2, 1), ValueError, r'fits shape \(2, 2, 3\), got shape \(2, 2, 1\)'),
        (noise(2, 2, 5), noise(2, 2, 5), ValueError, r'\(H, W, C\) with C in 1 … 4, got \(2, 2, 5\)'),
        (noise(2, 2)[0], noise(2, 2)[0], ValueError, r'got \(2,\)'),
        (noise(2, 2, 3)[None], noise(2, 2, 3)[None], ValueError, r'got \(1, 2, 2, 3\)'),
        (
            torch.zeros(7, 2, 2, dtype=torch.uint8),
            torch.zeros(7, 2, 2, dtype=torch.uint8),
            ValueError,
            r'\(..., C, H, W\) with C in 1 … 4, got \(7, 2, 2\)',
        ),
        (noise(2, 2), noise(0, 2), ValueError, 'no pixels: it is shape'),
        (picture('RGB', 2, 2), Image.new('RGB', (0, 4)), ValueError, 'no pixels: it is mode RGB'),
    ],
)
def test_images_that_do_not_fit(image, donor, error, message):
    with pytest.raises(error, match=message):
        lsb_swap(image, donor)


@pytest.mark.parametrize('k', [-1, 9, 2.0, True, '2', None])
def test_bad_numbers_of_bits(k):
    for call in (lambda: lsb_swap(noise(1, 1), noise(1, 1), k), lambda: LSBSwap(k)):
        with pytest.raises(ValueError, match='whole number in 0 … 8, got'):
            call()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(p=1.1), '0 … 1'), (dict(p=-0.1), '0 … 1'), (dict(p=float('nan')), '0 … 1')]
    + [(dict(pool_size=n), 'at least 1') for n in (0, 1.5, True)],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LSBSwap(**kwargs)


def test_empty_images_stay():
    assert lsb_swap(noise(0, 3), noise(2, 2), 2).shape == (0, 3)
    image = Image.new('RGB', (0, 3))
    assert LSBSwap(2, p=1)(image) is image


def test_what_a_picture_carries_stays():
    image = picture('RGB', 3, 3)
    image.info['icc_profile'] = b'profile'
    result = lsb_swap(image, picture('RGB', 3, 3, 1))
    assert result.info == {'icc_profile': b'profile'}
    assert result.info is not image.info


@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_a_colour_key_makes_no_other_pixels_transparent(mode):
    """Neither those that get the key's colour from the donor's bits, nor are those that had it shown."""
    image = Image.fromarray(np.asarray(picture(mode, 40, 40)) & 3)  # four grey values, or 64 colours
    donor = Image.fromarray(np.asarray(picture(mode, 40, 40, 1)) & 3)
    key = image.getpixel((5, 7))
    image.info['transparency'] = key
    alpha = np.asarray(image.convert('RGBA'))[..., 3]
    assert 0 < (alpha == 0).mean() < 0.5
    result = lsb_swap(image, donor, 2)
    assert (result.mode, result.info) == (image.mode, image.info)
    assert np.array_equal(np.asarray(result.convert('RGBA'))[..., 3], alpha)
    plain = np.asarray(donor)  # all bits of these images are low
    swapped = (alpha > 0) & (plain != key).reshape(40, 40, -1).any(-1)
    assert np.array_equal(np.asarray(result)[swapped], plain[swapped])
    assert np.array_equal(np.asarray(result)[~swapped], np.asarray(image)[~swapped])
    assert lsb_swap(result, image, 2).tobytes() == image.tobytes()


def test_transform_takes_bits_from_the_images_before(seed=3):
    """Flat images: the low bits tell which one they are from."""
    torch.manual_seed(seed)
    swap = LSBSwap(k=3, p=1, pool_size=4)
    donors = []
    for i in range(60):
        value = 0b10101000 | i % 8
        result = np.asarray(swap(Image.new('RGB', (5, 4), (value,) * 3)))
        assert (result >> 3 == value >> 3).all()
        assert len(np.unique(result)) == 1
        low = result.flat[0] & 7
        if i == 0:
            assert low == 0
        else:
            donors.append((i - low) % 8)  # how long ago
    assert set(donors[4:]) == {1, 2, 3, 4}
    counts = np.bincount(donors[4:])[1:]
    assert counts.min() >= 5


@pytest.mark.parametrize('p', [0.0, 0.25, 0.5, 1.0])
def test_probability(p):
    torch.manual_seed(0)
    swap = LSBSwap(k=8, p=p)
    swapped = 0
    for i in range(800):
        value = i % 256
        swapped += swap(Image.new('L', (2, 2), value)).getpixel((0, 0)) != value
    assert abs(swapped - (800 * p - (p > 0))) <= 3 * (800 * p * (1 - p)) ** 0.5  # the first finds no donor


def test_corners_of_larger_and_smaller_donors():
    """A larger donor lends any part that fits, a smaller one is repeated from anywhere."""
    for donor_size, expected in (
        (5, {(r, c) for r in range(3) for c in range(3)}),
        (2, {(r, c) for r in range(2) for c in range(2)}),
    ):
        donor = (np.arange(donor_size)[:, None] * 16 + np.arange(donor_size)).astype(np.uint8)
        torch.manual_seed(0)
        seen = set()
        for _ in range(200):
            swap = LSBSwap(k=8, p=1)
            swap(Image.fromarray(donor))
            result = np.asarray(swap(Image.new('L', (3, 3))))
            corner = divmod(int(result[0, 0]), 16)
            rows, columns = (np.arange(3) + corner[0]) % donor_size, (np.arange(3) + corner[1]) % donor_size
            assert np.array_equal(result, donor[np.ix_(rows, columns)])
            seen.add(corner)
        assert seen == expected


def test_ring_is_bounded_and_keeps_originals():
    torch.manual_seed(0)
    swap = LSBSwap(k=2, p=1, pool_size=3)
    images = [picture('RGB', 8, 8, seed) for seed in range(10)]
    for image in images:
        swap(image)
    (ring,) = swap._pools.values()
    assert [words.view(np.uint8).reshape(8, 8, 4)[..., :3].tolist() for words in ring] == [
        np.asarray(image).tolist() for image in images[-3:]
    ]


def test_grey_and_coloured_images_do_not_mix():
    torch.manual_seed(0)
    swap = LSBSwap(k=8, p=1)
    swap(picture('RGB', 4, 4))
    grey = picture('L', 4, 4)
    assert swap(grey) is grey  # no grey donor yet
    assert swap(picture('L', 4, 4, 1)).tobytes() == grey.tobytes()
    alpha = picture('RGBA', 4, 4, 2)
    result = np.asarray(swap(alpha))
    assert np.array_equal(result[..., :3], np.asarray(picture('RGB', 4, 4)))
    assert np.array_equal(result[..., 3], np.asarray(alpha)[..., 3])


def test_same_seed_same_images_and_another_seed_others():
    def run(seed):
        torch.manual_seed(seed)
        swap = LSBSwap(k=4)
        return [swap(picture('RGB', 6, 6, i)).tobytes() for i in range(30)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_copies_start_with_an_empty_ring():
    torch.manual_seed(0)
    swap = LSBSwap(k=3, p=1, pool_size=5)
    swap(picture('RGB', 4, 4))
    for twin in (pickle.loads(pickle.dumps(swap)), copy.deepcopy(swap)):
        assert (twin.k, twin.p, twin.pool_size) == (3, 1, 5)
        image = picture('RGB', 4, 4, 1)
        assert twin(image) is image
        assert twin(image) is not image
    assert swap(image) is not image
    assert repr(swap) == 'LSBSwap(k=3, p=1, pool_size=5)'


def test_in_torchvisions_compositions():
    image, donor = picture('RGB', 10, 8), picture('RGB', 10, 8, 1)
    expected = lsb_swap(image, donor, 2)

    first = transforms.Compose([LSBSwap(2, p=1), transforms.ToTensor()])
    first(donor)
    assert torch.equal(first(image), transforms.ToTensor()(expected))

    second = v2.Compose([LSBSwap(2, p=1), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    second(donor)
    result, label = second(image, 7)
    assert label == 7
    assert torch.equal((result * 255).round().byte(), v2.functional.pil_to_tensor(expected))

    boxes = tv_tensors.BoundingBoxes([[0, 0, 2, 2]], format='XYXY', canvas_size=(10, 8))
    mask = tv_tensors.Mask(torch.ones(10, 8, dtype=torch.uint8))
    third = v2.Compose([v2.ToImage(), LSBSwap(2, p=1)])
    third(donor)
    sample = third({'image': image, 'boxes': boxes, 'mask': mask, 'label': torch.tensor(3)})
    assert type(sample['image']) is tv_tensors.Image
    assert torch.equal(sample['image'], v2.functional.pil_to_tensor(expected))
    assert torch.equal(sample['mask'], mask)
    assert torch.equal(sample['boxes'], boxes)
    assert sample['label'] == 3


def test_tensors_in_the_ring_are_copies():
    swap = LSBSwap(8, p=1)
    first = torch.full((3, 4, 4), 9, dtype=torch.uint8)
    swap(first)
    first.zero_()
    assert (swap(torch.zeros(3, 4, 4, dtype=torch.uint8)) == 9).all()


@pytest.mark.parametrize(('sample', 'name'), [(noise(3, 3, 3), 'numpy.ndarray'), ({'label': 3}, 'builtins.int')])
def test_a_sample_without_an_image(sample, name):
    with pytest.raises(TypeError, match=f'expected a PIL image or a uint8 tensor, got {name}'):
        LSBSwap()(sample)


def test_donors_by_number():
    """Without a ring each image gets the bits of one of the donors, with one only the first that finds it empty."""
    donors = [(Image.new('L', (4, 4), value), 0) for value in range(8)]
    torch.manual_seed(0)
    swap = LSBSwap(3, p=1, pool_size=0, donors=donors)
    low = [swap(Image.new('L', (6, 6), 0b10101000)).getpixel((0, 0)) & 7 for _ in range(100)]
    assert set(low) == set(range(8))
    swap = LSBSwap(3, p=1, donors=donors[5:6])
    for _ in range(2):
        assert [swap(Image.new('L', (4, 4), value)).getpixel((0, 0)) for value in (8, 16)] == [8 | 5, 16]
        swap.forget()
