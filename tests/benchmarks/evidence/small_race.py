"""What `small.sh` runs against runs that somebody would have set by hand, on images that it was not tuned on.

PYTHONPATH=. python -m tests.benchmarks.evidence.small_race --images FOLDER [RACE ...]

* kanji-S: 150 printed kanji of 64 pixels, 3 images each, against timm's `resnet10t` with AdamW at equal time. Fonts to
  validate with are not those to train on; S is the seed of kanji and fonts.
* digits-S: 16 images of each of scikit-learn's ten digits, against five runs set by hand and `small.sh --fast`.

All are trained by `timm-vipriors train` in one thread; what small-race.csv has already is left out. The epochs
are fixed so that a busy machine does not change them: they are what `small.sh` chooses on two quiet cores.
"""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from timm_vipriors.data import make_demo_data
from timm_vipriors.data.demo_characters import draw_characters
from timm_vipriors.recipes.small import Facts, choose

HERE = Path(__file__).parent
RESULTS = HERE / 'small-race.csv'
# Epochs, and whether with RandAugment, as small.sh chooses them for its 7.5 minutes, 3 minutes and 36 seconds.
SMALL = {
    'kanji': {'small': (141, True), 'small, without RandAugment': (141, False)},
    'digits': {'small': (500, True), 'small --fast': (75, False)},
}
BY_HAND = '--crop-pct 1.0 --hflip 0 --color-jitter 0 --channels-last --warmup-epochs 5 '
OPPONENTS = {
    'kanji': {  # a step of this network took 1.85 times as long as one of small.sh's
        'resnet10t, AdamW': '--model resnet10t --img-size 64 --batch-size 32 --opt adamw --lr 1e-3 --weight-decay 0.05 '
        '--epochs 76 --scale 0.5 1',
    },
    'digits': {
        'resnet10t, AdamW': '--model resnet10t --img-size 64 --batch-size 32 --opt adamw --lr 1e-3 --weight-decay 0.05 '
        '--epochs 100 --scale 0.5 1',
        'resnet10t, SGD': '--model resnet10t --img-size 64 --batch-size 32 --lr 0.05 --weight-decay 5e-3 --epochs 100 '
        '--scale 0.5 1 --smoothing 0',
        'resnet18, SGD': '--model resnet18 --img-size 64 --batch-size 32 --lr 0.05 --weight-decay 1e-3 --epochs 60 '
        '--scale 0.6 1',
        'resnet18, AdamW': '--model resnet18 --img-size 64 --batch-size 16 --opt adamw --lr 5e-4 --weight-decay 0.1 '
        '--epochs 60 --scale 0.6 1 --aa rand-m5-mstd0.5',
        'mobilenetv3_small_100, AdamW': '--model mobilenetv3_small_100 --img-size 96 --batch-size 16 --opt adamw '
        '--lr 2e-3 --weight-decay 0.05 --epochs 150 --scale 0.6 1',
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('races', nargs='*', default=['kanji-0', 'kanji-1', 'digits-0'], metavar='RACE')
    parser.add_argument('--images', type=Path, required=True, help='folder for the sets and runs, made where missing')
    args = parser.parse_args()
    for race in args.races:
        kind, seed = race.split('-')
        data = args.images / race
        if not data.exists():
            make_kanji(data, int(seed)) if kind == 'kanji' else make_demo_data(data, 16, seed=int(seed))
        flags = {name: small_flags(data, *how) for name, how in SMALL[kind].items()}
        flags |= {name: (BY_HAND + text).split() for name, text in OPPONENTS[kind].items()}
        for number, (name, chosen) in enumerate(flags.items()):
            if (race, name) not in finished():
                append(race, name, train(data, chosen, args.images / 'runs', f'{race}-{number}'))


def make_kanji(data: Path, seed: int) -> None:
    """Draw kanji of JIS level 1 in fonts of a random choice, none of which has a relative in the other split."""
    level_1 = [bytes([row + 160, cell + 160]).decode('euc-jp') for row in range(16, 47) for cell in range(1, 95)]
    rng = np.random.default_rng(seed)
    characters = ''.join(rng.choice(level_1, 150, replace=False))
    trained = set()
    for split, label, name, pixels in draw_characters(3, rng, 64, characters):
        maker = name.split('-')[0]  # of 'vl-gothic' and 'vl-pgothic'
        if split == 'train':
            trained.add(maker)
        if split == 'train' or (split == 'validation' and maker not in trained):
            folder = data / split / label
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f'{name}.png')


def small_flags(data: Path, epochs: int, augmented: bool) -> list[str]:
    choices = choose(Facts.of(str(data)), minutes=1000, device='cpu')
    flags = [flag for choice in choices for flag in choice.flags]
    return [*flags, '--epochs', str(epochs), '--warmup-epochs', '5', *([] if augmented else ['--aa', ''])]


def train(data: Path, flags: list[str], output: Path, name: str) -> float:
    """Top-1 in percent after the last epoch, the only one that is evaluated."""
    command = [sys.executable, '-m', 'timm_vipriors', 'train', data, *flags, '--val-interval', '10000', '--seed', '1']
    command += ['--workers', '0', '--cache', 'ram', '--output', output, '--experiment', name, '--log-interval', '1000']
    subprocess.run(command, check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})
    with open(output / name / 'summary.csv', newline='') as file:
        return float(list(csv.DictReader(file))[-1]['eval_top1'])


def finished() -> dict[tuple[str, str], float]:
    """Top-1 by race and run."""
    if not RESULTS.exists():
        return {}
    with open(RESULTS, newline='') as file:
        return {(row['race'], row['run']): float(row['top1']) for row in csv.DictReader(file)}


def append(race: str, name: str, top1: float) -> None:
    new = not RESULTS.exists()
    with open(RESULTS, 'a', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        if new:
            writer.writerow(['race', 'run', 'top1'])
        writer.writerow([race, name, f'{top1:.2f}'])
    print(f'{race}: {name} {top1:.2f} %', flush=True)


def section() -> str:
    """The results as Markdown, under what was written about them."""
    lines = [f'| {race} | {name} | {top1:.1f} |' for (race, name), top1 in finished().items()]
    note = (HERE / 'notes' / 'small-race.md').read_text()
    head = '\n## small.sh against runs set by hand\n\n' + note + '\n| images | run | top-1 |\n|---|---|---|\n'
    return head + '\n'.join(lines) + '\n'


if __name__ == '__main__':
    main()
