"""What cached images save: epochs of a loader with one worker after the first, with the cache and without.

    python tests/benchmarks/cache.py [--images 2000] [--rounds 3]

The images are parts of scikit-learn's two photographs as JPEG files of 500×375 pixels, and a seventh as many of
3000×2000, read with timm's training pipeline for 224 pixels and collated to batches of 64. The loaders take turns,
epoch by epoch.
"""

import tempfile
from pathlib import Path

import PIL
import torch
from lsb_swap import write_images
from side_by_side import Report, alternate, circumstances, make_parser, seconds
from timm.data.loader import fast_collate
from torch.utils.data import DataLoader

from timm_vipriors.data import CachedImageDataset, Shrink, create_transform


def main() -> None:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument('--images', type=int, default=2000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = Report('Cached images', circumstances(f'Pillow {PIL.__version__}', f'{args.images} JPEG files'), args.json)
    photos = (max(1, args.images // 7), (3000, 2000), Shrink(224))
    for name, policy, asked, (count, size, shrink) in (
        ('random resized crop', None, 1.9, (args.images, (500, 375), None)),
        ('and RandAugment', 'rand-m9-mstd0.5', 1.5, (args.images, (500, 375), None)),
        ('3000×2000 pixels, shrunk', None, 8, photos),
    ):
        transform = create_transform(224, True, auto_augment=policy, use_prefetcher=True)
        with tempfile.TemporaryDirectory() as tmp:
            write_images(Path(tmp), count, size)
            sides = {}
            for cache in ('off', 'ram'):
                data = CachedImageDataset(
                    tmp, cache=cache, shrink=shrink if cache == 'ram' else None, transform=transform
                )
                loader = DataLoader(
                    data, 64, shuffle=True, num_workers=1, persistent_workers=True, collate_fn=fast_collate
                )
                sides[cache] = lambda loader=loader: seconds(lambda: sum(len(labels) for _, labels in loader))
            first = {cache: side() for cache, side in sides.items()}
            values = alternate(sides, args.rounds, warmup=0)
        names = ('cached', 'decoded')
        settings = dict(names=names, asked=f'≥ {asked}', times_faster=True)
        report.add(f'an epoch after the first, {name}', values['ram'], values['off'], **settings)
        report.add(f'the first epoch, {name}', [first['ram']], [first['off']], names=names, asked='≤ 1.05')
    report.finish()


if __name__ == '__main__':
    main()
