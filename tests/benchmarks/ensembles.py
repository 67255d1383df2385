"""What an ensemble of big score files costs: seconds against reading the files once with plain numpy, and memory.

    python tests/benchmarks/ensembles.py [--files 16] [--images 50000] [--classes 1000] [--rounds 3] [--dir FOLDER]

Writes the files to a temporary folder (3.2 GB by default), then in turn, in processes of their own: reads all with
`np.load`, one after the other, and runs `average` and `vote`. Seconds are those of the work, without the imports (of
torch, by the package), which are printed too. Memory is the peak of the whole process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import timm_vipriors
from timm_vipriors.inference.scores import write_scores

READ = """
import numpy as np
def work():
    for path in sys.argv[1:]:
        with np.load(path) as arrays:
            arrays['scores']
"""
COMMAND = """
from timm_vipriors.cli import main
def work():
    sys.stdout = open(os.devnull, 'w')
    assert main(sys.argv[1:]) == 0
    sys.stdout = sys.__stdout__
"""
MEASURE = """
start = time.perf_counter()
work()
seconds = time.perf_counter() - start
print(seconds, start - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measure(code: str, *args: str) -> np.ndarray:
    """Seconds of the work and of the imports before it, and the peak of memory in MiB, of a Python process."""
    code = f'import os, resource, sys, time\nbegin = time.perf_counter()\n{code}{MEASURE}'
    # through a small process: on Linux the peak of one starts with that of the one that started it
    small = 'import subprocess, sys; sys.exit(subprocess.call([sys.executable, "-c", *sys.argv[1:]]))'
    line = [sys.executable, '-c', small, code, *args]
    done = subprocess.run(line, check=True, text=True, stdout=subprocess.PIPE)
    unit = 1024 if sys.platform != 'darwin' else 1024**2
    return np.array(list(map(float, done.stdout.split()))) / [1, 1, unit]


def make_files(folder: Path, files: int, images: int, classes: int, shuffled: bool) -> list[str]:
    """Score files of models that are right about half of the time, made a block at a time."""
    targets = np.random.default_rng(0).integers(classes, size=images)
    filenames = np.array([f'n{target:08}/ILSVRC2012_val_{i:08}.JPEG' for i, target in enumerate(targets)])
    class_names = np.array([f'n{i:08}' for i in range(classes)])
    paths = []
    for k in range(files):
        rng = np.random.default_rng(k)
        order = rng.permutation(images) if shuffled and k else np.arange(images)

        def blocks(rng=rng, order=order):
            for rows in np.array_split(order, max(images // 1000, 1)):
                scores = rng.standard_exponential((len(rows), classes), dtype=np.float32)
                scores[np.arange(len(rows)), targets[rows]] += 12 * rng.standard_exponential(len(rows))
                yield scores / scores.sum(axis=1, keepdims=True)

        paths.append(str(folder / f'{k}.npz'))
        labels = filenames[order], targets[order], class_names, f'model {k}'
        write_scores(paths[-1], (images, classes), blocks(), *labels)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--files', type=int, default=16)
    parser.add_argument('--images', type=int, default=50_000)
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--shuffled', action='store_true', help='the files have their rows in different orders')
    parser.add_argument('--dir', help='where to make the temporary folder')
    args = parser.parse_args()

    print(f'timm-vipriors {timm_vipriors.__version__}, numpy {np.__version__}, {os.cpu_count()} CPU cores')
    print(f'{args.files} files of {args.images:,} × {args.classes:,}{", rows shuffled" if args.shuffled else ""}')
    with tempfile.TemporaryDirectory(dir=args.dir) as tmp:
        paths = make_files(Path(tmp), args.files, args.images, args.classes, args.shuffled)
        out = ['-o', f'{tmp}/out.csv', '--force']
        weighted = [f'{path}:{1 + k % 3}' for k, path in enumerate(paths)]
        lines = {
            'read with numpy': (READ, *paths),
            'import the package': ('from timm_vipriors.cli import main\ndef work(): pass\n',),
            'average': (COMMAND, 'ensemble', 'average', *weighted, *out),
            'average, --scores-out': (COMMAND, 'ensemble', 'average', *paths, *out, '--scores-out', f'{tmp}/out.npz'),
            'vote': (COMMAND, 'ensemble', 'vote', '--base', *paths, '--threshold', '0.02', *out),
        }
        for line in lines.values():
            measure(*line)  # warm-up: the files are in the cache of the system for all
        rounds = [{name: measure(*line) for name, line in lines.items()} for _ in range(args.rounds)]
    reading = min(each['read with numpy'][0] for each in rounds)
    for name in lines:
        seconds, imports, _ = np.min([each[name] for each in rounds], axis=0)
        peak = max(each[name][2] for each in rounds)
        ratio = seconds / reading
        print(f'{name:22} {seconds:6.2f} s = {ratio:4.2f} × the reading, {peak:5.0f} MiB (imports {imports:.2f} s)')


if __name__ == '__main__':
    main()
