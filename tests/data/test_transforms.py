import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torchvision import transforms

from timm_vipriors.data import LSBSwap, create_transform
from timm_vipriors.data.transforms import put_first


def names(transform):
    return [type(t).__name__ for t in transform.transforms]


@pytest.mark.parametrize('is_training', [True, False])
def test_without_the_swap_it_is_timms(is_training):
    kwargs = dict(auto_augment='rand-m9-mstd0.5', re_prob=0.2, crop_pct=0.9)
    ours = create_transform((3, 40, 40), is_training, **kwargs)
    assert names(ours) == names(timm.data.create_transform((3, 40, 40), is_training, **kwargs))
    assert 'LSBSwap' not in names(ours)


def test_the_swap_comes_first_in_training_alone():
    transform = create_transform(32, is_training=True, lsb_swap=3, lsb_prob=0.25, hflip=0.0)
    theirs = timm.data.create_transform(32, is_training=True, hflip=0.0)
    assert names(transform) == ['LSBSwap', *names(theirs)]
    assert (transform.transforms[0].k, transform.transforms[0].p) == (3, 0.25)
    assert create_transform(32, True, lsb_swap=1).transforms[0].p == 0.5
    assert 'LSBSwap' not in names(create_transform(32, lsb_swap=3))
    assert 'LSBSwap' in names(create_transform(32, True, True, lsb_swap=3))  # no_aug in third place, as timm has it


def test_pixels_are_swapped():
    transform = create_transform(4, True, color_jitter=None, use_prefetcher=True, lsb_swap=2, lsb_prob=1.0)
    transform(Image.new('RGB', (9, 7), (0, 1, 2)))
    result = transform(Image.new('RGB', (6, 6), (128, 128, 128)))
    assert result.dtype == torch.uint8
    assert np.array_equal(result[:, 0, 0], [128, 129, 130])


def test_separate_transforms():
    first, second, third = create_transform(32, True, separate=True, lsb_swap=2, auto_augment='rand-m9')
    assert names(first)[0] == 'LSBSwap'
    assert 'LSBSwap' not in [*names(second), *names(third)]


def test_bad_numbers():
    with pytest.raises(ValueError, match='whole number in 0 … 8, got 9'):
        create_transform(32, True, lsb_swap=9)
    with pytest.raises(ValueError, match='probability'):
        create_transform(32, True, lsb_swap=2, lsb_prob=2)
    with pytest.raises(ValueError, match='before a composition of transforms, got Resize'):
        put_first(LSBSwap(), transforms.Resize(3))


@pytest.mark.parametrize('policy', ['rand-m10-inc1', 'rand-m0', 'augmix-m10'])
def test_posterize_keeps_a_bit(policy):
    """timm asks Pillow for none at the strongest step of 'inc1', and at the weakest of the others."""
    policy = create_transform(32, True, auto_augment=policy).transforms[2]
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert('RGB')
    (op,) = (op for op in policy.ops if op.name.startswith('Posterize'))
    op.prob, op.magnitude_std = 1, 0
    assert set(np.asarray(op(image)).flat) == {0, 128}
    assert 'timm_vipriors' not in timm.data.auto_augment.NAME_TO_OP[op.name].__module__
