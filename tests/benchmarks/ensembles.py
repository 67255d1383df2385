"""What an ensemble of big score files costs: seconds against reading the files once with plain numpy, and memory.

    python tests/benchmarks/ensembles.py [--files 16] [--images 50000] [--classes 1000] [--shuffled] [--dir FOLDER]

Writes the files to a temporary folder (3.2 GB by default), then in turn, in processes of their own: reads all with
`np.load`, one after the other, and runs `average` and `vote`. Seconds are those of the work, without the imports (of
torch, by the package), which are printed too. Memory is the peak of the whole process.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from side_by_side import Report, alternate, circumstances, make_parser

from timm_vipriors.inference import Scores

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
        scores = np.empty((images, classes), np.float32)
        for rows in np.array_split(np.arange(images), max(images // 1000, 1)):
            part = rng.standard_exponential((len(rows), classes), dtype=np.float32)
            part[np.arange(len(rows)), targets[order[rows]]] += 12 * rng.standard_exponential(len(rows))
            scores[rows] = part / part.sum(axis=1, keepdims=True)
        paths.append(str(folder / f'{k}.npz'))
        Scores(scores, filenames[order], targets[order], class_names, f'model {k}').save(paths[-1])
    return paths


def main() -> None:
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument('--files', type=int, default=16)
    parser.add_argument('--images', type=int, default=50_000)
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--shuffled', action='store_true', help='the files have their rows in different orders')
    parser.add_argument('--dir', help='where to make the temporary folder')
    args = parser.parse_args()

    shuffled = 'rows shuffled' if args.shuffled else 'rows in one order'
    settings = circumstances(f'{args.files} files of {args.images:,} × {args.classes:,}', shuffled)
    report = Report('Ensembles', settings, args.json)
    with tempfile.TemporaryDirectory(dir=args.dir) as tmp:
        paths = make_files(Path(tmp), args.files, args.images, args.classes, args.shuffled)
        out = ['-o', f'{tmp}/out.csv', '--force']
        weighted = [f'{path}:{1 + k % 3}' for k, path in enumerate(paths)]
        lines = {
            'read': (READ, *paths),
            'import': ('from timm_vipriors.cli import main\ndef work(): pass\n',),
            'average': (COMMAND, 'ensemble', 'average', *weighted, *out),
            'vote': (COMMAND, 'ensemble', 'vote', '--base', *paths, '--threshold', '0.02', *out),
        }
        values = alternate({name: lambda line=line: measure(*line) for name, line in lines.items()}, args.rounds)
    reading = [each[0] for each in values['read']]
    for name in ('average', 'vote'):
        spent = [each[0] for each in values[name]]
        report.add(name, spent, reading, names=(name, 'reading the files with numpy'), asked='≤ 2')
    peaks = {name: [each[2] for each in values[name]] for name in lines}
    for name in ('average', 'vote'):
        names = (name, 'importing the package')
        report.add(f'peak memory of {name}', peaks[name], peaks['import'], 'MiB', names, '< 1024 MiB in all')
    report.finish()


if __name__ == '__main__':
    main()
