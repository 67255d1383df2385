"""Run the trainings of plan.py one after the other; what a CSV file has already is left out, so it resumes by itself.

PYTHONPATH=. python -m tests.benchmarks.evidence.run --images FOLDER [--pause-file FILE] [QUESTION ...]
"""

import argparse
import csv
import fcntl
import sys
import time
from pathlib import Path

import torch

from . import images
from .plan import QUESTIONS
from .settings import NAMES, RESULTS, Settings
from .training import train

FOLDER = Path(__file__).parent / 'results'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('questions', nargs='*', metavar='QUESTION', help=f'some of {", ".join(QUESTIONS)}; all if none')
    parser.add_argument('--images', type=Path, required=True, help='folder for the data sets, made where missing')
    parser.add_argument('--results', type=Path, default=FOLDER, help='folder of the CSV files')
    parser.add_argument('--pause-file', type=Path, help='while this file exists, wait between two epochs')
    parser.add_argument('--list', action='store_true', help='print how many trainings are done and left')
    args = parser.parse_args()
    questions = args.questions or list(QUESTIONS)
    if unknown := set(questions) - set(QUESTIONS):
        parser.error(f'expected questions of {", ".join(QUESTIONS)}, got {", ".join(sorted(unknown))}')
    if args.list:
        for question in questions:
            wanted = list(QUESTIONS[question]())
            done = finished(args.results / f'{question}.csv')
            print(f'{question}: {sum(s.key() in done for s in wanted)} of {len(wanted)} done')
        return

    def wait() -> None:
        while args.pause_file and args.pause_file.exists():
            time.sleep(2)

    torch.set_num_threads(1)
    args.results.mkdir(parents=True, exist_ok=True)
    with open(args.results / '.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f'another run writes to {args.results}')
        for question in questions:
            file = args.results / f'{question}.csv'
            for settings in QUESTIONS[question]():
                if settings.key() not in finished(file):
                    run_one(settings, file, args.images, wait)


def run_one(settings: Settings, file: Path, folder: Path, wait) -> None:
    wait()
    s = settings
    data = images.load(folder, s.data, s.part, s.data_seed, s.per_class, s.size)
    results = train(settings, data, between_epochs=wait)
    append(file, settings, results)
    changed = [f'{n}={v}' for n, v in zip(NAMES, s.key(), strict=True) if v != str(getattr(Settings, n, None))]
    print(time.strftime('%H:%M:%S'), file.stem, *changed, '→', results, flush=True)


def finished(file: Path) -> set[tuple[str, ...]]:
    return {settings.key() for settings, _ in read(file)}


def read(file: Path) -> list[tuple[Settings, dict[str, str]]]:
    """The rows of a CSV file, each as its settings and its results."""
    if not file.exists():
        return []
    with open(file, newline='') as f:
        return [(Settings.from_row(row), {name: row[name] for name in RESULTS}) for row in csv.DictReader(f)]


def append(file: Path, settings: Settings, results: dict[str, str]) -> None:
    new = not file.exists()
    with open(file, 'a', newline='') as f:
        writer = csv.writer(f, lineterminator='\n')
        if new:
            writer.writerow([*NAMES, *RESULTS])
        writer.writerow([*settings.key(), *(results[name] for name in RESULTS)])


if __name__ == '__main__':
    main()
