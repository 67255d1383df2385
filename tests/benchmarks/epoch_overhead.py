"""What an epoch of a tiny data set costs beside its training steps, with the bundled script and with timm's.

    python tests/benchmarks/epoch_overhead.py [--epochs 10] [--model test_dsk_resnext]

500 digits to train on and 120 to validate on, 32 pixels, two workers. Of each epoch but the first (where the workers
start) the time from its last training step to the first of the next is compared to the whole epoch: validation,
checkpoint, records, and the wait for the next batch. timm's script is that of $TIMM_SCRIPTS, left out if not set.
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

PARTS = ('validation', 'checkpoint', 'records')


def timed(work: Callable, spent: dict[str, list[tuple[float, float]]], name: str) -> Callable:
    """A function that notes when its calls begin and end."""

    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            spent[name].append((start, time.perf_counter()))

    return run


def train(argv: list[str]) -> dict[str, list[float]]:
    """Train in this process: seconds of each epoch after the first, of what is not steps, and of its parts."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from timm_vipriors.scripts import runner
    from timm_vipriors.scripts.plugin import Plugin
    from timm_vipriors.scripts.saving import Saver
    from timm_vipriors.task import FeatureClassificationTask

    spent: dict[str, list[tuple[float, float]]] = defaultdict(list)
    begins, ends = [], []
    register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    forward, load = FeatureClassificationTask.forward, runner.load_script

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            begins.append(time.perf_counter())
        return forward(self, *args, **kwargs)

    def load_script(path: Path) -> Any:
        script = load(path)
        validate = timed(script.validate, spent, 'validation')

        def validated(model: Any, *args: Any, **kwargs: Any) -> Any:
            before = len(spent['forward'])
            run, model.forward = model.forward, timed(model.forward, spent, 'forward')
            result = validate(model, *args, **kwargs)
            model.forward = run
            calls = spent['forward'][before:]
            spent['network'].append((0, sum(b - a for a, b in calls)))
            return result

        script.validate = validated
        return script

    FeatureClassificationTask.forward, runner.load_script = noted, load_script
    Saver.save_checkpoint = timed(Saver.save_checkpoint, spent, 'checkpoint')
    Plugin.update_summary = timed(Plugin.update_summary, spent, 'records')
    runner.run('train', argv)

    epochs = len(spent['checkpoint'])
    begin, end = (np.array(times).reshape(epochs, -1) for times in (begins, ends))
    values = {'epoch': np.diff(begin[:, 0]), 'beside': begin[1:, 0] - end[:-1, -1]}
    for name in PARTS:
        values[name] = np.array([b - a for a, b in spent[name]])[:-1]
    values['network'] = np.array([b for a, b in spent['network']])[:-1]
    values['wait'] = values['beside'] - sum(values[name] for name in PARTS)
    return {name: array[1:].tolist() for name, array in values.items()}


def main() -> None:
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--model', default='test_dsk_resnext')
    parser.add_argument('--batch', type=int, default=50)
    parser.add_argument('--train', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        print(json.dumps(train(args.train)))
        return

    from timm_vipriors.data import make_demo_data

    settings = circumstances(f'{args.model}, 32 pixels, batch {args.batch}, 2 workers, {args.epochs} epochs')
    report = Report('An epoch of 500 digits beside its steps', settings, args.json)
    with tempfile.TemporaryDirectory() as tmp:
        make_demo_data(f'{tmp}/data')
        for folder in Path(tmp, 'data', 'validation').iterdir():
            for image in sorted(folder.iterdir())[12:]:
                image.unlink()
        scripts = {'bundled': ''} | ({'timm': os.environ['TIMM_SCRIPTS']} if os.environ.get('TIMM_SCRIPTS') else {})
        found: dict[str, dict[str, list[float]]] = {script: defaultdict(list) for script in scripts}
        for round in range(args.rounds):
            for script, path in scripts.items():
                flags = f'--model {args.model} --img-size 32 -b {args.batch} --workers 2 --warmup-epochs 0'
                line = [sys.executable, __file__, '--train', f'{tmp}/data', *flags.split()]
                line += ['--epochs', str(args.epochs), '--output', f'{tmp}/{script}{round}']
                env = {**os.environ, 'TIMM_SCRIPTS': path}
                done = subprocess.run(line, env=env, check=True, text=True, capture_output=True)
                for name, values in json.loads(done.stdout.splitlines()[-1]).items():
                    found[script][name] += values
        for script, values in found.items():
            for name in ('beside', *PARTS, 'network', 'wait'):
                what = {'beside': 'all that is not steps', 'wait': 'waiting for images, and the rest'}.get(name, name)
                report.add(f'{script}: {what}', values[name], values['epoch'], names=('it', 'the epoch'), asked='')
    report.finish()


if __name__ == '__main__':
    main()
