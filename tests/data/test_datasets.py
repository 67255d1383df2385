import re
import traceback

import pytest
import torch
from PIL import Image
from timm.data import create_dataset, create_loader

from timm_vipriors.data import CorruptImageError, StrictImageDataset


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
        (lambda data: b'', r'b/1.png is not an image that Pillow can read'),
        (lambda data: b'hello, world', r'b/1.png is not an image that Pillow can read'),
    ],
    ids=['truncated', 'empty', 'text'],
)
def test_a_broken_image_is_named(folder, damage, message):
    path = folder / 'b' / '1.png'
    path.write_bytes(damage(path.read_bytes()))
    dataset = StrictImageDataset.of(create_dataset('', root=str(folder)))
    assert len(dataset[3]) == 2
    with pytest.raises(CorruptImageError, match=message):
        dataset[4]
    assert re.search(message, error_of_a_loader(dataset))
