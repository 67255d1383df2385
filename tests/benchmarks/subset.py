"""What choosing a subset costs: seconds and memory, for a folder and for one of ten times its size.

    python tests/benchmarks/subset.py [--classes 1000] [--images 100] [--per-class 50]

Makes folders of small files and runs `timm-vipriors subset` on each, with links and with copies, in processes of their
own. The memory is the peak of the whole process; that of an import of the package alone is printed for comparison.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import timm_vipriors


def make_images(root: Path, classes: int, images: int) -> Path:
    for label in range(classes):
        folder = root / f'n{label:08}'
        folder.mkdir(parents=True)
        for image in range(images):
            (folder / f'n{label:08}_{image}.JPEG').write_bytes(b'not looked at')
    return root


def measure(*args: str) -> tuple[float, float]:
    """Seconds and peak MiB of a Python process."""
    # RUSAGE_CHILDREN has the largest of all children, so each is the only child of a process of its own
    code = (
        'import resource, subprocess, sys, time\n'
        'start = time.perf_counter()\n'
        'subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)\n'
        'print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n'
    )
    done = subprocess.run([sys.executable, '-c', code, *args], check=True, text=True, stdout=subprocess.PIPE)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak / (1024 if sys.platform != 'darwin' else 1024**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--images', type=int, default=100, help='of each class')
    parser.add_argument('--per-class', type=int, default=50, help='images of each class in train and in val')
    args = parser.parse_args()

    print(f'timm-vipriors {timm_vipriors.__version__}, {os.cpu_count()} CPU cores')
    with tempfile.TemporaryDirectory() as tmp:
        measure('-c', 'import timm_vipriors')  # warm-up
        report('import timm_vipriors', *measure('-c', 'import timm_vipriors'))
        for classes in (max(args.classes // 10, 1), args.classes):
            source = make_images(Path(tmp, f'{classes}'), classes, args.images)
            print(f'{classes * args.images} files in {classes} classes, {args.per_class} + {args.per_class} of each:')
            for flag in ('--link', '--copy'):
                root = f'{source}{flag}'
                for name, target, which in (
                    ('', root, ['--per-class', str(args.per_class)]),
                    (', all there', root, ['--per-class', str(args.per_class)]),
                    (', --list', f'{root}-list', ['--list', f'{root}/manifest.csv']),
                ):
                    line = ['-m', 'timm_vipriors', 'subset', str(source), target, flag, *which]
                    report(flag + name, *measure(*line))


def report(name: str, seconds: float, peak: float) -> None:
    print(f'{name:22} {seconds:6.1f} s {peak:6.0f} MiB')


if __name__ == '__main__':
    main()
