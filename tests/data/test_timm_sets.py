"""`timm-vipriors subset` of timm's data sets, which become folders of PNG files."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import IterableDataset

from timm_vipriors.cli import main
from timm_vipriors.data import make_subset, timm_sets
from timm_vipriors.data.timm_sets import timm_source
from timm_vipriors.errors import UserError

from .subset_files import rows, tree

DEBIAN = Path('/usr/share/datasets/fashion-mnist')  # of its package dataset-fashion-mnist


def write_idx(folder, images, labels):
    folder.mkdir(parents=True)
    for split in ('train', 't10k'):
        head = struct.pack('>IIII', 0x803, *images.shape)
        (folder / f'{split}-images-idx3-ubyte').write_bytes(head + images.tobytes())
        (folder / f'{split}-labels-idx1-ubyte').write_bytes(struct.pack('>II', 0x801, len(labels)) + labels.tobytes())


@pytest.fixture
def fashion(tmp_path):
    """Forty images of noise in the form of Fashion-MNIST."""
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8), np.arange(40, dtype=np.uint8)
    write_idx(tmp_path / 'root' / 'FashionMNIST' / 'raw', images, labels % 10)
    return images


def check(dst, images, classes):
    for split, label, file in rows(dst):
        number = int(file[:-4])
        assert classes[label](number), (label, file)
        assert np.array_equal(np.asarray(Image.open(dst / split / label / file)), images[number])


def test_a_set_of_torchvision(fashion, tmp_path, dst, capsys, monkeypatch):
    line = ['subset', 'torch/fashion_mnist', str(dst), '--images', str(tmp_path / 'root')]
    save, left = Image.Image.save, [9]

    def stop(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, 'No space left on device')
        save(*args, **kwargs)

    monkeypatch.setattr(Image.Image, 'save', stop)
    assert main(line) == 2
    assert 'the same command resumes' in capsys.readouterr().err and not dst.exists()
    monkeypatch.setattr(Image.Image, 'save', save)
    for there in ('', 'is there already, '):
        assert main(line) == 0
        assert f'{there}10 classes, 30 images in train, 10 in validation' in capsys.readouterr().out
    classes = ['T-shirt_top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']
    check(dst, fashion, {name: lambda n, i=i: n % 10 == i for i, name in enumerate(classes)})
    source = timm_source('torch/fashion_mnist', tmp_path / 'root', 'validation')
    make_subset(source, tmp_path / 'again', lists=dst / 'manifest.csv')
    assert tree(tmp_path / 'again').keys() == tree(dst).keys()


def test_a_set_that_is_read_in_order(fashion, tmp_path, dst, monkeypatch):
    class Stream(IterableDataset):  # as of tfds/
        def __init__(self):
            self.class_to_idx = {'even': 0, 'odd': 1}

        def __len__(self):
            return 40

        def __iter__(self):
            yield from ((Image.fromarray(image), number % 2) for number, image in enumerate(fashion))

    monkeypatch.setattr(timm_sets, 'create_dataset', lambda *args, **kwargs: Stream())
    make_subset(timm_source('tfds/x'), dst, {'train': 3, 'validation': 2})
    check(dst, fashion, {'even': lambda n: n % 2 == 0, 'odd': lambda n: n % 2 == 1})
    assert len(rows(dst)) == 10


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('torch/fashion_mnist dst', 'torch/fashion_mnist: name the folder that it lies in with --images DIR'),
        ('torch/cifar10 dst --images .', "'train' of torch/cifar10 in .: Dataset not found .*--download"),
        ('torch/nothing dst --images .', 'Unknown torchvision dataset nothing'),
        ('torch/mnist torch/kmnist dst --images .', "torch/mnist is one of timm's data sets: name it alone"),
    ],
)
def test_sets_that_are_not_there(tmp_path, monkeypatch, capsys, line, message):
    monkeypatch.chdir(tmp_path)
    assert main(['subset', *line.split()]) == 2
    assert message.split('.*')[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_fashion_mnist(tmp_path, dst):
    if not DEBIAN.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    raw = tmp_path / 'FashionMNIST' / 'raw'
    raw.mkdir(parents=True)
    for path in DEBIAN.glob('*.gz'):
        with gzip.open(path) as packed, open(raw / path.stem, 'wb') as file:
            shutil.copyfileobj(packed, file)
    counts = make_subset(timm_source('torch/fashion_mnist', tmp_path), dst, {'train': 50, 'validation': 20})
    assert counts == {'train': 500, 'validation': 200}
    images = np.frombuffer((raw / 'train-images-idx3-ubyte').read_bytes(), np.uint8, -1, 16).reshape(-1, 28, 28)
    labels = np.frombuffer((raw / 'train-labels-idx1-ubyte').read_bytes(), np.uint8, -1, 8)
    names = 'T-shirt_top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot'.split()
    check(dst, images, {name.replace('e_', 'e '): lambda n, i=i: labels[n] == i for i, name in enumerate(names)})


def test_a_set_without_classes(monkeypatch):
    monkeypatch.setattr(timm_sets, 'create_dataset', lambda *args, **kwargs: [('image', [1, 2])])
    with pytest.raises(UserError, match='timm cannot read the split'):
        timm_source('hfds/x')
