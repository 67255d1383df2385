"""What a training step of DSK costs: against SK, and against computing both units and masking.

    python tests/benchmarks/dsk_step.py [--batch 16] [--size 128] [--rounds 7] [--channels-last]

The three take turns, step by step, in one process. Prints the medians and the ratios of each round.
"""

import argparse
import statistics
import time

import timm
import torch
from torch import nn

import timm_vipriors
from timm_vipriors.layers import DualBranch


def make(name: str, channels_last: bool) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=100).train()
    return model.to(memory_format=torch.channels_last) if channels_last else model


def masked(model: nn.Module) -> nn.Module:
    """Both units compute the whole batch and λ picks, as Eq. 2 is usually written."""
    for module in model.modules():
        if isinstance(module, DualBranch):
            module._forward_routed = module._forward_masked
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--size', type=int, default=128)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--channels-last', action='store_true')
    args = parser.parse_args()

    models = {
        'sk': make('sk_resnext50_32x4d', args.channels_last),
        'dsk': make('dsk_resnext50_32x4d', args.channels_last),
        'both units, masked': masked(make('dsk_resnext50_32x4d', args.channels_last)),
    }
    optimizers = {k: torch.optim.SGD(m.parameters(), lr=0.01, momentum=0.9) for k, m in models.items()}
    x, y = torch.randn(args.batch, 3, args.size, args.size), torch.randint(100, (args.batch,))
    if args.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    seconds = {k: [] for k in models}
    for round in range(args.rounds + 1):
        for name, model in models.items():
            start = time.perf_counter()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizers[name].step()
            optimizers[name].zero_grad()
            if round:  # the first is warm-up
                seconds[name].append(time.perf_counter() - start)

    print(
        f'timm-vipriors {timm_vipriors.__version__}, timm {timm.__version__}, torch {torch.__version__}, '
        f'{torch.get_num_threads()} threads, batch {args.batch}, {args.size} pixels'
        f'{", channels last" if args.channels_last else ""}'
    )
    for name, values in seconds.items():
        print(f'{name:20} {statistics.median(values):7.3f} s/step')
    for a, b in (('dsk', 'sk'), ('both units, masked', 'dsk')):
        ratios = sorted(p / q for p, q in zip(seconds[a], seconds[b], strict=True))
        print(f'{a} / {b}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})')


if __name__ == '__main__':
    main()
