"""Prediction against timm's evaluation: `predict` by `validate`, and ten crops by one.

    python tests/benchmarks/predict.py [--model resnet18] [--size 64]

With TIMM_SCRIPTS naming a checkout of timm, its own validate.py is measured. The commands take turns in one process, on
the digits, each from its arguments to its end.
"""

import contextlib
import io
import os
import tempfile

import timm
import torch
from side_by_side import Report, alternate, circumstances, make_parser, seconds

from timm_vipriors.cli import main as command
from timm_vipriors.data import make_demo_data


def run(*argv: object) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert command([str(a) for a in argv]) == 0


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument('--model', default='resnet18')
    parser.add_argument('--size', type=int, default=64)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as tmp:
        data, weights = os.path.join(tmp, 'digits'), os.path.join(tmp, 'weights.pth')
        make_demo_data(data, per_class=140, size=args.size)  # validation has the other 397
        torch.save(timm.create_model(args.model, num_classes=10).state_dict(), weights)
        flags = ['--model', args.model, '--img-size', args.size, '--checkpoint', weights, '-b', 128, '--workers', 1]
        out = ['-o', os.path.join(tmp, 'scores.npz'), '--force', '--num-classes', 10]
        sides = {
            'validate': lambda: seconds(lambda: run('validate', data, *flags)),
            'predict': lambda: seconds(lambda: run('predict', data, *flags, *out)),
            'ten crops': lambda: seconds(lambda: run('predict', data, *flags, *out, '--tta', 'ten-crop')),
        }
        values = alternate(sides, args.rounds)

    script = "timm's validate.py" if os.environ.get('TIMM_SCRIPTS') else 'the bundled validate.py'
    settings = circumstances(f'{args.model} at {args.size} pixels', '397 images')
    report = Report('Prediction', settings, args.json)
    report.add('a whole command', values['predict'], values['validate'], names=('predict', script))
    report.add('a whole command', values['ten crops'], values['predict'], names=('ten crops', 'one'), asked='≤ 10.5')
    report.finish()


if __name__ == '__main__':
    main()
