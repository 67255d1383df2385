"""What an epoch of a tiny data set costs beside its training steps, with the bundled script and with timm's.

    python tests/benchmarks/epoch_overhead.py [--epochs 12] [--model test_dsk_resnext]

500 digits to train on and 120 to validate on, 32 pixels, two workers. The time from the last training step of an epoch
to the first of the next, by the time of the epoch, and its parts; without the first epoch, where workers start. What
the network itself computes in validation is inevitable; the rest is overhead. timm's script is that of $TIMM_SCRIPTS,
left out where that is not set.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Report, circumstances, make_parser


def timed(work: Callable, spent: list[float]) -> Callable:
    """A function that notes the seconds of its calls."""

    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - start)

    return run


def train(argv: list[str]) -> dict[str, list[float]]:
    """Train in this process: seconds of each epoch after the first, of what is beside its steps, and of the parts."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from timm_vipriors.scripts import runner
    from timm_vipriors.scripts.saving import Saver
    from timm_vipriors.task import FeatureClassificationTask

    spent: dict[str, list[float]] = defaultdict(list)
    begins, ends = [], []
    register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    forward, load = FeatureClassificationTask.forward, runner.load_script

    def begin(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            begins.append(time.perf_counter())
        return forward(self, *args, **kwargs)

    def load_script(path: Path) -> Any:
        script = load(path)
        validate = timed(script.validate, spent['validation'])

        def watched(model: Any, *args: Any, **kwargs: Any) -> Any:
            calls: list[float] = []
            model.forward = timed(model.forward, calls)
            result = validate(model, *args, **kwargs)
            del model.forward
            spent['network'].append(sum(calls))
            return result

        script.validate = watched
        return script

    FeatureClassificationTask.forward, runner.load_script = begin, load_script
    Saver.save_checkpoint = timed(Saver.save_checkpoint, spent['checkpoint'])
    runner.run('train', argv)

    epochs = len(spent['checkpoint'])
    begin_of, end_of = (np.array(times).reshape(epochs, -1) for times in (begins, ends))
    values = {name: np.array(seconds)[:-1] for name, seconds in spent.items()}
    values |= {'epoch': np.diff(begin_of[:, 0]), 'beside': begin_of[1:, 0] - end_of[:-1, -1]}
    values['rest'] = values['beside'] - values['validation'] - values['checkpoint']
    values['loader'] = values['validation'] - values['network']
    values['overhead'] = values['beside'] - values['network']
    return {name: array[1:].tolist() for name, array in values.items()}


def main() -> None:
    parser = make_parser(__doc__, rounds=2)
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--model', default='test_dsk_resnext')
    parser.add_argument('--batch', type=int, default=50)
    parser.add_argument('--train', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        print(json.dumps(train(args.train)))
        return

    from timm_vipriors.data import make_demo_data

    settings = circumstances(args.model, '32 pixels', f'batch {args.batch}', '2 workers', f'{args.epochs} epochs')
    report = Report('An epoch of 500 digits beside its steps', settings, args.json)
    scripts = {'bundled': ''} | ({'timm': os.environ['TIMM_SCRIPTS']} if os.environ.get('TIMM_SCRIPTS') else {})
    found: dict[str, dict[str, list[float]]] = {script: defaultdict(list) for script in scripts}
    with tempfile.TemporaryDirectory() as tmp:
        make_demo_data(f'{tmp}/data')
        for folder in Path(tmp, 'data', 'validation').iterdir():
            for image in sorted(folder.iterdir())[12:]:
                image.unlink()
        for round in range(args.rounds):
            for script, path in scripts.items():
                flags = f'--model {args.model} --img-size 32 -b {args.batch} --workers 2 --warmup-epochs 0'
                line = [sys.executable, __file__, '--train', f'{tmp}/data', *flags.split()]
                line += ['--epochs', str(args.epochs), '--output', f'{tmp}/{script}{round}']
                done = subprocess.run(
                    line, env={**os.environ, 'TIMM_SCRIPTS': path}, text=True, capture_output=True, check=False
                )
                if done.returncode:
                    sys.exit(done.stderr)
                for name, values in json.loads(done.stdout.splitlines()[-1]).items():
                    found[script][name] += values
    for script, values in found.items():
        for name, what, asked in (
            ('beside', 'beside the steps', ''),
            ('network', 'the network in validation', ''),
            ('overhead', 'overhead', '≤ 0.03'),
            ('loader', 'overhead of validation', ''),
            ('checkpoint', 'overhead of the checkpoint', ''),
            ('rest', 'waiting for images, and the rest', ''),
        ):
            report.add(
                f'script: {script}',
                values[name],
                values['epoch'],
                names=(what, 'the epoch'),
                asked=asked,
                spread=(0.1, 0.9),
            )
    report.finish()


if __name__ == '__main__':
    main()
