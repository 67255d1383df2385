"""The images of a subset from one of timm's data sets: `torch/…`, `hfds/…`, `tfds/…` and the others of its readers."""

import os
from collections.abc import Iterator, Sequence

from PIL import Image
from timm.data import create_dataset
from timm.data.dataset import ImageDataset
from torch.utils.data import IterableDataset

from ..errors import UserError
from ..files import first_line, progress
from .datasets import decode
from .sources import ImageSource, class_folders

READERS = ('torch/', 'hfds/', 'hfids/', 'tfds/', 'wds/')


def timm_source(
    name: str, root: str | os.PathLike | None = None, split: str = 'train', download: bool = False
) -> ImageSource:
    """The images of a split of a data set that timm's `create_dataset` reads; a subset has them as PNG files.

    An image is called after its number in the split. A slash in the name of a class becomes an underscore.

    Args:
        name: timm's name of it, such as 'torch/fashion_mnist' or 'hfds/uoft-cs/cifar10'.
        root: The folder that it lies in, or is kept in.
        split: The split to choose from.
        download: Whether it may be downloaded.

    Raises:
        UserError: If timm cannot open it, or it does not give each image one class.

    Examples:
        >>> source = timm_source('torch/fashion_mnist', 'root', download=True)  # doctest: +SKIP
        >>> make_subset(source, 'data', {'train': 50, 'validation': 20})  # doctest: +SKIP
        {'train': 500, 'validation': 200}
    """
    root = None if root is None else os.fspath(root)
    if root is None and name.lower().startswith('torch/'):
        raise UserError(f'{name}: name the folder that it lies in with --images DIR')
    try:
        dataset = create_dataset(name, root=root, split=split, download=download)
        labels = getattr(dataset, 'targets', None)  # torchvision's
        if labels is None and hasattr(getattr(dataset, 'reader', None), 'iter_targets'):
            labels = dataset.reader.iter_targets()  # without reading the images
        if labels is None:
            labels = (label for _, label in progress(dataset, len(dataset), 'reading'))
        index_of = getattr(dataset, 'class_to_idx', None) or getattr(dataset.reader, 'class_to_idx', None) or {}
        names = {index: str(label) for label, index in index_of.items()}
        labels = [names.get(label, str(label)) for label in map(int, labels)]
    except (Exception, SystemExit) as e:  # of torchvision, datasets or tensorflow, which may not be installed
        error = first_line(e).replace('download=True', '--download')
        raise UserError(f'timm cannot read the split {split!r} of {name} in {root}: {error}') from e
    folders, digits = class_folders(labels), len(str(len(labels)))
    images: dict[str, dict[str, str]] = {folder: {} for folder in folders.values()}
    for number, label in enumerate(labels):
        file = f'{number:0{digits}}.png'
        images[folders[label]][file] = file

    def read(files: Sequence[str]) -> Iterator[Image.Image]:
        numbers = [int(file.removesuffix('.png')) for file in files]
        if isinstance(dataset, IterableDataset):
            wanted = set(numbers)
            yield from (img for number, (img, _) in enumerate(dataset) if number in wanted)
        for number in numbers:
            if type(dataset) is ImageDataset:  # which would take the next image for a broken one
                yield decode(dataset.reader[number][0], f'image {number} of {name}', dataset.input_img_mode)
            elif not isinstance(dataset, IterableDataset):
                yield dataset[number][0]

    return ImageSource(name, images, [], read=read)
