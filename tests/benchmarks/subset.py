"""What choosing a subset costs: seconds and memory, for a folder and for one of ten times its size.

    python tests/benchmarks/subset.py [--classes 1000] [--images 100] [--per-class 50]

Makes folders of small files and runs `timm-vipriors subset` on each, with links and with copies, in processes of their
own, and in turn with them one that imports the package and ends.
"""

import sys
import tempfile
from pathlib import Path

from side_by_side import Report, circumstances, make_parser, measure_process


def make_images(root: Path, classes: int, images: int) -> Path:
    for label in range(classes):
        folder = root / f'n{label:08}'
        folder.mkdir(parents=True)
        for image in range(images):
            (folder / f'n{label:08}_{image}.JPEG').write_bytes(b'not looked at')
    return root


def main() -> None:
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--images', type=int, default=100, help='of each class')
    parser.add_argument('--per-class', type=int, default=50, help='images of each class in train and in val')
    args = parser.parse_args()

    report = Report('Subsets', circumstances(f'{args.per_class} + {args.per_class} images of each class'), args.json)
    with tempfile.TemporaryDirectory() as tmp:
        package = (sys.executable, '-c', 'import timm_vipriors')
        measure_process(*package)  # warm-up
        for classes in (max(args.classes // 10, 1), args.classes):
            source = make_images(Path(tmp, f'{classes}'), classes, args.images)
            for flag in ('--link', '--copy'):
                values = {'subset': [], 'import': []}
                for round in range(args.rounds):
                    line = ('-m', 'timm_vipriors', 'subset', str(source), f'{source}{flag}{round}', flag)
                    line += ('--per-class', str(args.per_class))
                    values['subset'].append(measure_process(sys.executable, *line))
                    values['import'].append(measure_process(*package))
                names = ('subset', 'importing the package')
                what = f'{classes * args.images:,} files, {flag}'
                (spent, peaks), (imports, before) = (zip(*values[name], strict=True) for name in ('subset', 'import'))
                asked = '≤ 20 s in all' if flag == '--link' else ''
                report.add(what, spent, imports, names=names, asked=asked)
                if flag == '--link':
                    report.add(f'{what}, peak memory', peaks, before, 'MiB', names)
    report.finish()


if __name__ == '__main__':
    main()
