"""Peak memory of a training step: DSK against SK, and against computing both units and masking.

    python tests/benchmarks/memory.py [--batch 64] [--size 224] [--small 96]

On a GPU the peak of the allocator over a step with bfloat16 autocast. On the CPU the peak of a process over two steps
in float32, less what it had before the network was made; there only DSK and SK are measured at the full size, which
takes them 15 GiB, and the plain forms at the small one.
"""

import argparse
import resource
import subprocess
import sys

import torch
from dsk_step import NAMES, make, train
from side_by_side import Report, circumstances, make_parser
from torch import nn


def peak(label: str, batch: int, size: int) -> float:
    """The peak in MiB of this process, or of its GPU, over two steps of a network."""
    cuda = torch.cuda.is_available()
    device = torch.device('cuda' if cuda else 'cpu')
    # a first product loads what every process needs
    nn.functional.conv2d(torch.randn(1, 3, 8, 8, device=device), torch.randn(4, 3, 3, 3, device=device))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model = make(*NAMES[label]).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(batch, 3, size, size, device=device), torch.randint(1000, (batch,), device=device)
    for _ in range(2):
        train(model, optimizer, x, y)
    if cuda:
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def measure(label: str, batch: int, size: int, rounds: int = 1) -> list[float]:
    """The peaks in MiB of a network, each in a process of its own."""
    line = [sys.executable, __file__, '--batch', str(batch), '--size', str(size), '--one', label]
    alone = 'import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))'  # a peak starts with the parent's
    runs = [
        subprocess.run([sys.executable, '-c', alone, *line], check=True, text=True, stdout=subprocess.PIPE)
        for _ in range(rounds)
    ]
    return [float(run.stdout) for run in runs]


def main() -> None:
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--small', type=int, default=96, help='for the plain forms; a GPU takes them at full size')
    parser.add_argument('--one', choices=NAMES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(peak(args.one, args.batch, args.size))
        return
    small = args.size if torch.cuda.is_available() else min(args.small, args.size)
    values = {}
    for label, size in [('DSK', args.size), ('SK', args.size), *((label, small) for label in NAMES)]:
        if (label, size) not in values:
            values[label, size] = measure(label, args.batch, size, args.rounds)
    report = Report('Peak memory of training', circumstances(f'batch {args.batch}'), args.json)

    def add(ours: str, other: str, size: int, asked: str = '') -> None:
        what = f'peak at {size} pixels'
        report.add(what, values[ours, size], values[other, size], 'MiB', (ours, other), asked)

    add('DSK', 'SK', args.size, '≤ 1.15')
    if small != args.size:
        add('DSK', 'SK', small, '≤ 1.15')
    add('DSK', 'both units, masked', small)
    add('SK', "timm's SK", small)
    report.finish()


if __name__ == '__main__':
    main()
