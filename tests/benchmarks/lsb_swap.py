"""What LSB swap adds to loading training images: JPEG decoding and timm's RandAugment pipeline, without and with it.

    python tests/benchmarks/lsb_swap.py [--images 32] [--rounds 40]

The images are parts of scikit-learn's two photographs as JPEG files of 500×375 pixels. The two pipelines take turns,
image by image, in one process, with the same random seed for the same image.
"""

import os
import random
import tempfile
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from side_by_side import Report, circumstances, make_parser, seconds
from sklearn.datasets import load_sample_images
from timm.data import create_dataset

from timm_vipriors.data import StrictImageDataset, create_transform


def write_images(root: Path, count: int, size: tuple[int, int] = (500, 375)) -> None:
    """Random parts of the photographs, 640×427 pixels, scaled to a size, as an image folder of two classes."""
    rng = np.random.default_rng(0)
    for i in range(count):
        photo = Image.fromarray(load_sample_images().images[i % 2])
        left, top = rng.integers(0, 120), rng.integers(0, 37)
        part = photo.crop((left, top, left + 520, top + 390)).resize(size, Image.Resampling.BICUBIC)
        folder = root / str(i % 2)
        folder.mkdir(exist_ok=True)
        part.save(folder / f'{i:03d}.jpg', quality=96)


def load(dataset: StrictImageDataset, index: int, seed: int) -> float:
    """Load an image and return the seconds it took."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  timm's augmentations use it
    torch.manual_seed(seed)
    return seconds(lambda: dataset[index])


def main() -> None:
    parser = make_parser(__doc__, rounds=40)
    parser.add_argument('--images', type=int, default=32)
    parser.add_argument('--p', type=float, default=0.5)
    args = parser.parse_args()
    torch.set_num_threads(1)  # as in a loader's worker

    with tempfile.TemporaryDirectory() as tmp:
        write_images(Path(tmp), args.images)
        sizes = sorted(os.path.getsize(p) // 1024 for p in Path(tmp).rglob('*.jpg'))
        datasets = {}
        for name, k in (('without', 0), ('with', 2)):
            datasets[name] = StrictImageDataset.of(create_dataset('', root=tmp))
            datasets[name].transform = create_transform(
                224, True, auto_augment='rand-m9-mstd0.5', use_prefetcher=True, lsb_swap=k, lsb_prob=args.p
            )
        values = {name: [] for name in datasets}
        for round in range(args.rounds + 1):
            totals = dict.fromkeys(datasets, 0.0)
            for i in range(args.images):
                for name in sorted(datasets, reverse=i % 2 == 0):  # neither is always the first to touch the file
                    totals[name] += load(datasets[name], i, seed=round * args.images + i)
            for name, total in totals.items():
                if round:  # the first is warm-up
                    values[name].append(total / args.images)

    settings = circumstances(f'Pillow {PIL.__version__}', f'{args.images} JPEG files of {sizes[0]} to {sizes[-1]} KB')
    report = Report('LSB swap', settings, args.json)
    names = ('with', 'without LSB swap')
    what = f'loading a training image, p = {args.p:g}'
    report.add(what, values['with'], values['without'], names=names, asked='≤ 1.05', spread=(0.1, 0.9))
    report.finish()


if __name__ == '__main__':
    main()
