"""All that was asked of a GPU, in one table with the card's name: step, memory, inference, the units at once, loader.

    python tests/benchmarks/gpu.py [--only step …] [--csv gpu.csv]

bfloat16 autocast and channels last where a row does not say otherwise. Without a GPU a tiny network runs on the CPU, to
see that all of it runs: those numbers mean nothing.
"""

import copy
import csv
import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
from cache import write_images
from dsk_inference import make as make_for_inference
from dsk_step import train
from losses import trees
from memory import measure
from side_by_side import Report, alternate, circumstances, machine, make_parser, seconds
from timm.layers import BlurPool2d
from timm.utils import reparameterize_model
from torch import nn

from timm_vipriors.data import CachedImageDataset
from timm_vipriors.layers import DualBranch

CUDA = torch.cuda.is_available()
DEVICE = torch.device('cuda' if CUDA else 'cpu')
DTYPES = {'float32': False, 'bfloat16': True}  # whether there is autocast


def main() -> None:
    parser = make_parser(__doc__, rounds=5 if CUDA else 1)
    parser.add_argument('--only', nargs='+', choices=PARTS, default=list(PARTS), metavar='PART', help=', '.join(PARTS))
    parser.add_argument('--csv', type=Path, help='write the figures to a CSV file too')
    parser.add_argument('--sk', default='sk_resnext50_32x4d')
    parser.add_argument('--dsk', default='dsk_resnext50_32x4d' if CUDA else 'test_dsk_resnext')
    parser.add_argument('--batch', type=int, default=64 if CUDA else 4)
    parser.add_argument('--size', type=int, default=224 if CUDA else 32)
    parser.add_argument('--steps', type=int, default=10 if CUDA else 1, help='in a row, for a measurement of a step')
    parser.add_argument('--workers', type=int, default=16 if CUDA else 2)
    parser.add_argument('--images', type=int, default=4000 if CUDA else 8, help='JPEG files for the loader')
    parser.add_argument('--backend', default='inductor' if CUDA else 'eager', help='of torch.compile')
    args = parser.parse_args()
    torch.set_float32_matmul_precision('high')  # TF32 for the rows of float32, as one would train
    torch.backends.cudnn.benchmark = True
    settings = circumstances(
        machine(), f'batch {args.batch}', f'{args.size} pixels', f'torch.compile by {args.backend}'
    )
    report = Report('On a GPU' if CUDA else 'On a CPU, to see that it runs', settings, args.json)
    for part in args.only:
        PARTS[part](report, args)
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    report.finish()
    if args.csv:
        with open(args.csv, 'w', newline='', encoding='utf-8') as file:
            rows = [{'machine': machine(), **f, 'names': ' | '.join(f['names'])} for f in report.figures]
            writer = csv.DictWriter(file, rows[0], lineterminator='\n')
            writer.writeheader()
            writer.writerows(rows)


def step(report: Report, args: Namespace) -> None:
    """A training step of DSK by one of SK."""
    for dtype, layout, compiled in (
        ('float32', torch.channels_last, False),
        ('bfloat16', torch.contiguous_format, False),
        ('bfloat16', torch.channels_last, False),
        ('bfloat16', torch.channels_last, True),
    ):
        models = {'DSK': make(args.dsk, layout), 'SK': make(args.sk, layout)}
        sides = {name: stepper(model, args, DTYPES[dtype], layout, compiled) for name, model in models.items()}
        values = alternate(sides, args.rounds, warmup=2)
        how = ', '.join([dtype, *['channels last'] * (layout is torch.channels_last), *['compiled'] * compiled])
        asked = '≤ 1.1' if compiled else '≤ 1.2'
        report.add(f'step, {how}', values['DSK'], values['SK'], names=('DSK', 'SK'), asked=asked)


def memory(report: Report, args: Namespace) -> None:
    """Peak memory of a training step; of the full networks on the CPU too."""
    for size in sorted({args.size, 96 if CUDA else 32}):
        values = {label: measure(label, args.batch, size) for label in ('DSK', 'SK', 'both units, masked')}
        for other, asked in (('SK', '≤ 1.15'), ('both units, masked', '')):
            report.add(f'peak at {size} pixels', values['DSK'], values[other], 'MiB', ('DSK', other), asked)


def inference(report: Report, args: Namespace) -> None:
    """The two units as they are, on streams, fused, compiled, fused and compiled."""
    for batch in (1, 64 if CUDA else 2):
        plain = make_for_inference(args.dsk, DEVICE).to(memory_format=torch.channels_last)
        models = {'plain': plain, 'on streams': replaced(plain, on_streams), 'fused': reparameterize_model(plain)}
        models |= {
            f'{name}, compiled': torch.compile(models[name], backend=args.backend, dynamic=False)
            for name in ('plain', 'fused')
        }
        x = images(batch, args.size)
        with torch.inference_mode():
            expected = plain(x)
            for name in ('on streams', 'fused'):
                torch.testing.assert_close(models[name](x), expected, rtol=1e-2, atol=1e-2)  # TF32
        sides = {}
        for name, model in models.items():

            def run(model: nn.Module = model, x: torch.Tensor = x) -> None:
                with torch.inference_mode(), torch.autocast(DEVICE.type, torch.bfloat16):
                    model(x)

            sides[name] = lambda run=run: seconds(run, args.steps)
        values = alternate(sides, args.rounds, warmup=2)
        for ours, other, asked in (
            ('fused', 'plain', '≥ 1.3' if batch == 1 else '≥ 1'),
            ('on streams', 'plain', ''),
            ('plain, compiled', 'plain', ''),
            ('fused, compiled', 'plain, compiled', '≥ 1'),
        ):
            what = f'inference, batch {batch}'
            report.add(what, values[ours], values[other], names=(ours, other), asked=asked, times_faster=True)


def units(report: Report, args: Namespace) -> None:
    """A training step with the two units one after the other, on two streams, and as one with twice the groups."""
    in_turn = make(args.dsk)
    models = {'on streams': replaced(in_turn, on_streams), 'as one grouped convolution': replaced(in_turn, as_one)}
    same_outputs(in_turn, models, args)
    for compiled in (False, True):
        if compiled:
            del models['on streams']
        sides = {
            name: stepper(model, args, compiled=compiled) for name, model in {**models, 'in turn': in_turn}.items()
        }
        values = alternate(sides, args.rounds, warmup=2)
        for name in models:
            what = 'the units in a step' + ', compiled' * compiled
            report.add(what, values[name], values['in turn'], names=(name, 'in turn'), times_faster=True)


def loader(report: Report, args: Namespace) -> None:
    """Epochs of timm's loader after the first with images cached and decoded, and whether the card has to wait."""
    model = make(args.dsk)
    a_step = alternate({'step': stepper(model, args)}, args.rounds, warmup=2)['step']
    with tempfile.TemporaryDirectory() as tmp:
        write_images(Path(tmp), args.images)
        for name, policy in (('random resized crop', None), ('and RandAugment', 'rand-m9-mstd0.5')):
            sides = {}
            for cache in ('off', 'ram'):
                data = timm.data.create_loader(
                    CachedImageDataset(tmp, cache=cache),
                    (3, args.size, args.size),
                    args.batch,
                    is_training=True,
                    auto_augment=policy,
                    num_workers=args.workers,
                    pin_memory=CUDA,
                    device=DEVICE,
                )
                sides[cache] = lambda data=data: seconds(lambda: [None for _ in data]) / len(data)
            values = alternate(sides, args.rounds, warmup=1)
            what = f'a batch of {args.workers} workers, {name}'
            report.add(what, values['ram'], values['off'], names=('cached', 'decoded'), times_faster=True)
            for cache, label in (('ram', 'cached'), ('off', 'decoded')):
                report.add(what, values[cache], a_step, names=(label, "DSK's step"), asked='≤ 1')
            del sides, data  # and with them their workers


def loss(report: Report, args: Namespace) -> None:
    """Tree supervision against a loop over the nodes."""
    trees(report, 1000 if CUDA else 5, 64, args.rounds, DEVICE)


PARTS: dict[str, Callable[[Report, Namespace], None]] = {
    part.__name__: part for part in (step, memory, inference, units, loader, loss)
}


def make(name: str, layout: torch.memory_format = torch.channels_last) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=1000).train().to(DEVICE, memory_format=layout)


def images(batch: int, size: int, layout: torch.memory_format = torch.channels_last) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, device=DEVICE).contiguous(memory_format=layout)


def stepper(
    model: nn.Module,
    args: Namespace,
    autocast: bool = True,
    layout: torch.memory_format = torch.channels_last,
    compiled: bool = False,
) -> Callable[[], float]:
    """A function that takes some training steps and returns the seconds of one."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = images(args.batch, args.size, layout), torch.randint(1000, (args.batch,), device=DEVICE)
    run = torch.compile(model, backend=args.backend, dynamic=False) if compiled else model
    return lambda: seconds(lambda: train(run, optimizer, x, y, autocast), args.steps)


def replaced(model: nn.Module, how: Callable[[DualBranch], Callable]) -> nn.Module:
    """A copy of a network whose dual branches compute their units in another way."""
    twin = copy.deepcopy(model)
    for branch in twin.modules():
        if isinstance(branch, DualBranch):
            branch._units = how(branch)
    return twin


def on_streams(branch: DualBranch) -> Callable:
    """The second unit beside the first, on a stream of its own; the backward pass follows."""
    if not CUDA:
        return branch._units
    stream = torch.cuda.Stream()

    def run(x1: torch.Tensor, x2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        main = torch.cuda.current_stream()
        stream.wait_stream(main)
        with torch.cuda.stream(stream):
            y2 = branch.unit2(x2)
        y1 = branch.unit1(x1)
        main.wait_stream(stream)
        x2.record_stream(stream)
        y2.record_stream(main)
        return y1, y2

    return run


def as_one(branch: DualBranch) -> Callable:
    """Both units in one call of each operation, on twice the channels: their convolutions get twice the groups."""
    one = branch.both = branch.unit1
    for module, other in zip(one.modules(), branch.unit2.modules(), strict=True):
        if isinstance(module, nn.Conv2d):
            module.groups *= 2
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and tensor.ndim:
                    both = torch.cat([tensor, getattr(other, name)]).detach()
                    tensors[name] = nn.Parameter(both) if tensors is module._parameters else both
        if isinstance(module, BlurPool2d):
            module.channels *= 2
    if one.selective:
        one.conv2.attn.forward = partial(attention, one.conv2.attn)
    del branch.unit1, branch.unit2
    branch._num_splits = lambda: 1  # asks unit1

    def run(x1: torch.Tensor, x2: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return one(torch.cat([x1, x2], dim=1)).chunk(2, dim=1)

    return run


def attention(attn: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """timm's attention over the channels of two units: (B, P, 2 C, 1, 1)."""
    scores = attn.fc_select(attn.act(attn.bn(attn.fc_reduce(x.sum(1)))))  # of the first unit, then of the second
    return scores.view(len(x), 2, attn.num_paths, -1, 1, 1).transpose(1, 2).flatten(2, 3).softmax(dim=1)


@torch.no_grad()
def same_outputs(model: nn.Module, others: dict[str, nn.Module], args: Namespace) -> None:
    """Check that the networks compute the same, apart from rounding, in a pass with the same routing."""
    x = images(args.batch, args.size)
    outputs = {}
    for name, network in {'': model, **others}.items():
        torch.manual_seed(1)
        outputs[name] = network(x)
    for name in others:
        torch.testing.assert_close(outputs[name], outputs[''], rtol=1e-2, atol=1e-2)


if __name__ == '__main__':
    main()
