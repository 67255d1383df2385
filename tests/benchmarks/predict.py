"""Prediction against timm's evaluation: `predict` by `validate`, and ten crops by one.

    python tests/benchmarks/predict.py [--model resnet18] [--size 64] [--rounds 5]

With TIMM_SCRIPTS naming a checkout of timm, its own validate.py is measured. The commands take turns in one process, on
the digits, each from its arguments to its end. Prints the medians and the ratios of each round.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time

import timm
import torch

import timm_vipriors
from timm_vipriors.cli import main as command
from timm_vipriors.data import make_demo_data


def seconds(*argv: object) -> float:
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert command([str(a) for a in argv]) == 0
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='resnet18')
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as tmp:
        data, weights = os.path.join(tmp, 'digits'), os.path.join(tmp, 'weights.pth')
        make_demo_data(data, per_class=140, size=args.size)  # validation has the other 397
        torch.save(timm.create_model(args.model, num_classes=10).state_dict(), weights)
        flags = ['--model', args.model, '--img-size', args.size, '--checkpoint', weights, '-b', 128, '--workers', 1]
        out = ['-o', os.path.join(tmp, 'scores.npz'), '--force', '--num-classes', 10]
        commands = {
            'validate': ['validate', data, *flags],
            'predict': ['predict', data, *flags, *out],
            'predict, ten-crop': ['predict', data, *flags, *out, '--tta', 'ten-crop'],
        }
        times = {name: [] for name in commands}
        for round in range(args.rounds + 1):
            for name, argv in commands.items():
                value = seconds(*argv)
                if round:  # the first is warm-up
                    times[name].append(value)

    script = "timm's validate.py" if os.environ.get('TIMM_SCRIPTS') else 'the bundled validate.py'
    print(
        f'timm-vipriors {timm_vipriors.__version__}, timm {timm.__version__}, torch {torch.__version__}, '
        f'{torch.get_num_threads()} threads, {args.model} at {args.size} pixels, 397 images, {script}'
    )
    for name, values in times.items():
        print(f'{name:18} {statistics.median(values):7.2f} s')
    for a, b in (('predict', 'validate'), ('predict, ten-crop', 'predict')):
        ratios = sorted(p / q for p, q in zip(times[a], times[b], strict=True))
        print(f'{a} / {b}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})')


if __name__ == '__main__':
    main()
