"""CPU time of a training step of each network and routing, side by side in one process, for epochs at equal time.

PYTHONPATH=. python -m tests.benchmarks.evidence.step_time [--rounds N]
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from .networks import NETWORKS, create
from .settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=30, help='each times every row once, in turn')
    parser.add_argument('--depth', type=int, default=1)
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--size', type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [(net, '') for net in (*NETWORKS, 'resnet10t')] + [('dsk', 'mean'), ('dsk', 'even'), ('d', 'mean')]
    steps = {row: make_step(*row, args) for row in rows}
    seconds: dict[tuple[str, str], list[float]] = {row: [] for row in rows}
    for _ in range(args.rounds):  # in turn, so that a busy machine's cold caches slow all alike
        for row, step in steps.items():
            start = time.process_time()
            step()
            seconds[row].append(time.process_time() - start)
    base = statistics.median(seconds['sk', ''])
    for (net, routing), found in seconds.items():
        median = statistics.median(found)
        print(f'{net:10} {routing:6} {1e3 * median:7.1f} ms {median / base:6.2f} × SK')


def make_step(net: str, routing: str, args: argparse.Namespace):
    settings = Settings('fashion', 'tune', 0, 0, net, 1, routing=routing, depth=args.depth)
    model = create(settings, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = torch.randn(args.batch, 1, args.size, args.size).contiguous(memory_format=torch.channels_last)
    target = torch.randint(10, (args.batch,))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()

    for _ in range(3):
        step()
    return step


if __name__ == '__main__':
    main()
