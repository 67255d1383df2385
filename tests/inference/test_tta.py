import random
import zlib

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torchvision import transforms

from timm_vipriors.data.seeding import seeded
from timm_vipriors.inference.tta import create_tta_transform, parse_tta, views

CONFIG = dict(
    input_size=(3, 48, 40), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation='bilinear', crop_pct=0.8, crop_mode='center'
)


def photo(seed=0, size=(90, 70)):
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ('spec', 'expected'),
    [('none', ('none', 1)), ('hflip', ('hflip', 2)), ('ten-crop', ('ten-crop', 10)), ('randaug:7', ('randaug', 7))],
)
def test_specifications(spec, expected):
    assert parse_tta(spec) == expected


@pytest.mark.parametrize('spec', ['', 'flip', 'randaug', 'randaug:', 'randaug:0', 'randaug:-1', 'randaug:2x', 'None'])
def test_unknown_specifications(spec):
    with pytest.raises(ValueError, match='expected none, hflip, ten-crop or randaug:N'):
        parse_tta(spec)
    with pytest.raises(ValueError, match='expected none'):
        create_tta_transform(spec, CONFIG)


def test_one_view_is_timms_evaluation():
    theirs = timm.data.create_transform(
        (3, 48, 40), mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.8, interpolation='bilinear', use_prefetcher=True
    )
    result = create_tta_transform('none', CONFIG)(photo())
    assert result.shape == (1, 3, 48, 40)
    assert torch.equal(result[0], torch.as_tensor(theirs(photo())))


def test_mirrored_view():
    transform = create_tta_transform('hflip', CONFIG)
    batch = torch.stack([transform(photo(0)), transform(photo(1))])
    first, second = views('hflip', batch)
    assert torch.equal(first, batch[:, 0])
    assert torch.equal(second, batch[:, 0].flip(-1))
    assert len(list(views('none', batch))) == 1


@pytest.mark.parametrize('size', [(90, 70), (61, 93), (50, 50)])
def test_ten_crops_are_torchvisions(size):
    config = {**CONFIG, 'input_size': (3, 40, 40)}
    resize = transforms.Resize(50, transforms.InterpolationMode.BILINEAR)
    expected = [tensor(crop) for crop in transforms.TenCrop(40)(resize(photo(size=size)))]
    result = create_tta_transform('ten-crop', config)(photo(size=size))
    assert result.shape == (10, 3, 40, 40)
    assert result.dtype == torch.uint8
    assert torch.equal(result, torch.stack(expected))
    assert len(list(views('ten-crop', result[None]))) == 10
    if size != (50, 50):
        assert len({view.numpy().tobytes() for view in result}) == 10


@pytest.mark.parametrize(
    ('crop_pct', 'crop_mode'), [(1.0, 'squash'), (1.0, 'center'), (0.99, 'center'), (0.8, 'border'), (0.9, 'squash')]
)
def test_ten_crops_that_would_coincide(crop_pct, crop_mode):
    config = {**CONFIG, 'crop_pct': crop_pct, 'crop_mode': crop_mode}
    if crop_pct == 0.9:
        assert len({view.numpy().tobytes() for view in create_tta_transform('ten-crop', config)(photo())}) == 10
        return
    with pytest.raises(ValueError, match=r'ten crops would coincide.*--crop-pct 0\.875 --crop-mode center'):
        create_tta_transform('ten-crop', config)


def test_random_views_are_those_of_the_training():
    train = dict(auto_augment='rand-m5', scale=(0.5, 1.0), ratio=(1.0, 1.0), hflip=0.5, interpolation='bilinear')
    views = create_tta_transform('randaug:3', CONFIG, train, seed=5)(photo())
    assert views.shape == (3, 3, 48, 40)
    assert len({view.numpy().tobytes() for view in views}) == 3
    theirs = timm.data.create_transform(
        (3, 48, 40), is_training=True, mean=(0.5,) * 3, std=(0.5,) * 3, use_prefetcher=True, **train
    )
    with seeded(5, zlib.crc32(photo().tobytes())):
        assert torch.equal(views, torch.stack([torch.as_tensor(theirs(photo())) for _ in range(3)]))


def test_random_views_depend_on_the_image_and_the_seed_alone():
    transform = create_tta_transform('randaug:2', CONFIG, seed=1)
    first = transform(photo(0))
    transform(photo(1))
    random.seed(9)
    torch.manual_seed(9)
    assert torch.equal(transform(photo(0)), first)
    assert not torch.equal(create_tta_transform('randaug:2', CONFIG, seed=2)(photo(0)), first)
    policy = create_tta_transform('randaug:2', CONFIG, {'auto_augment': 'rand-m9-n4'}, seed=1)
    assert not torch.equal(policy(photo(0)), first)


def test_other_random_numbers_are_left_alone():
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    def start():
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)

    start()
    expected = draw()
    start()
    create_tta_transform('randaug:2', CONFIG)(photo())
    assert draw() == expected
    start()
    with pytest.raises(KeyError), seeded(1):
        raise KeyError
    assert draw() == expected
