import builtins
import gzip

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from timm_vipriors.data import make_demo_data
from timm_vipriors.errors import UserError


def listing(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob('*.png')}


def test_all_digits_are_there_once_in_their_class(digits):
    files = listing(digits)
    assert len(files) == 1797
    target = load_digits().target
    seen = set()
    for name in files:
        _, label, file = name.split('/')
        assert target[int(file[:4])] == int(label)
        seen.add(file)
    assert len(seen) == 1797
    for label in range(10):
        assert len(list((digits / 'train' / str(label)).iterdir())) == 50
    assert {p.name for p in digits.iterdir()} == {'train', 'validation'}


def test_images_are_the_digits(tmp_path):
    make_demo_data(tmp_path / 'd', size=8)
    for path in sorted((tmp_path / 'd' / 'train').rglob('*.png'))[::50]:
        with Image.open(path) as image:
            pixels = np.asarray(image, dtype=float)
        expected = load_digits().images[int(path.stem)] * 255 / 16
        assert np.abs(pixels - expected).max() <= 0.5


def test_options(tmp_path):
    assert make_demo_data(tmp_path / 'a', per_class=3, size=20) == (30, 1767)
    make_demo_data(tmp_path / 'b', per_class=3, size=20)
    make_demo_data(tmp_path / 'c', per_class=3, size=20, seed=1)
    assert listing(tmp_path / 'a') == listing(tmp_path / 'b')
    assert set(listing(tmp_path / 'a')) != set(listing(tmp_path / 'c'))
    with Image.open(next((tmp_path / 'a').rglob('*.png'))) as image:
        assert image.size == (20, 20)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(per_class=0), 'in 1 … 173'), (dict(per_class=174), 'in 1 … 173'), (dict(size=7), 'in 8 … 1024 pixels')],
)
def test_bad_numbers(tmp_path, kwargs, message):
    with pytest.raises(UserError, match=message):
        make_demo_data(tmp_path / 'd', **kwargs)
    assert not (tmp_path / 'd').exists()


def test_a_folder_with_content_is_left_alone(tmp_path):
    (tmp_path / 'mine').write_text('precious')
    with pytest.raises(UserError, match='not empty'):
        make_demo_data(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ['mine']


def test_nothing_is_left_behind_when_writing_fails(tmp_path, monkeypatch):
    saved = []

    def save(self, path, *args):
        saved.append(path)
        if len(saved) == 20:
            raise OSError('disk full')

    monkeypatch.setattr(Image.Image, 'save', save)
    with pytest.raises(OSError, match='disk full'):
        make_demo_data(tmp_path / 'd')
    assert list(tmp_path.iterdir()) == []


def test_without_scikit_learn(tmp_path, monkeypatch):
    real = builtins.__import__

    def no_sklearn(name, *args, **kwargs):
        if name.startswith('sklearn'):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', no_sklearn)
    with pytest.raises(UserError, match=r"pip install 'timm-vipriors\[demo\]'"):
        make_demo_data(tmp_path / 'd')


@pytest.fixture
def clothes(tmp_path, monkeypatch):
    """120 training and 30 test images of each class in the files of Fashion-MNIST, each of one grey that tells it."""
    folder = tmp_path / 'idx'
    folder.mkdir()
    for part, count in (('train', 1200), ('t10k', 300)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        grey = (np.arange(count) // 10 + 120 * (part == 't10k')).astype(np.uint8)
        images = np.broadcast_to(grey[:, None, None], (count, 28, 28))
        for name, header, content in (('images-idx3', 16, images), ('labels-idx1', 8, labels)):
            (folder / f'{part}-{name}-ubyte.gz').write_bytes(gzip.compress(bytes(header) + content.tobytes()))
    monkeypatch.setenv('FASHION_MNIST', str(folder))
    return folder


def test_fashion(tmp_path, clothes):
    root = tmp_path / 'd'
    assert make_demo_data(root, per_class=4, size=28, set='fashion') == (40, 1000, 300)
    seen = {}
    for name in listing(root):
        split, label, _ = name.split('/')
        with Image.open(root / name) as image:
            grey = np.asarray(image)
        assert grey.shape == (28, 28)
        assert (split == 'test') == (grey.min() >= 120)
        assert (label, grey.min()) not in seen  # in one split, once
        seen[label, grey.min()] = split
    assert len({label for label, _ in seen}) == 10
    make_demo_data(tmp_path / 'other', per_class=4, set='fashion', seed=1)
    assert set(listing(root / 'train')) != set(listing(tmp_path / 'other' / 'train'))
    assert set(listing(root / 'test')) == set(listing(tmp_path / 'other' / 'test'))
    with pytest.raises(UserError, match='in 1 … 5900'):
        make_demo_data(tmp_path / 'more', per_class=5901, set='fashion')


@pytest.mark.parametrize('break_it', [lambda path: path.unlink(), lambda path: path.write_bytes(b'no gzip')])
def test_without_fashion_mnist(tmp_path, clothes, break_it):
    break_it(clothes / 'train-labels-idx1-ubyte.gz')
    with pytest.raises(UserError, match='apt-get install dataset-fashion-mnist'):
        make_demo_data(tmp_path / 'd', set='fashion')
    assert not (tmp_path / 'd').exists()
