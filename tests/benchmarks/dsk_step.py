"""What a training step of DSK costs: against SK, against computing both units and masking, and by our SK and timm's.

    python tests/benchmarks/dsk_step.py [--batch 16] [--size 128] [--compile]

On the CPU in float32; on a GPU with bfloat16 autocast. SGD with momentum; the memory layout is tried both ways.
"""

import timm
import torch
from side_by_side import Report, alternate, circumstances, make_parser, seconds
from torch import nn

import timm_vipriors  # noqa: F401  registers the models
from timm_vipriors.layers import DualBranch

NAMES = {
    'SK': ('sk_resnext50_32x4d', False),
    'DSK': ('dsk_resnext50_32x4d', False),
    'both units, masked': ('dsk_resnext50_32x4d', True),
    "timm's SK": ('sk_resnext50_32x4d', True),
}


def make(name: str, plain: bool) -> nn.Module:
    """A model, or its plain form: both units computed and masked, and timm's own selective kernel."""
    torch.manual_seed(0)
    layer = dict(sk_layer=timm.layers.SelectiveKernel) if plain and name.startswith('sk_') else {}
    block_args = dict(sk_kwargs=dict(rd_ratio=1 / 16, rd_divisor=32, split_input=False), **layer)
    model = timm.create_model(name, num_classes=1000, block_args=block_args).train()
    if plain:
        for module in model.modules():
            if isinstance(module, DualBranch):
                module._forward_routed = lambda x, splits, masked=module._forward_masked: masked(x)
    return model


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, autocast: bool | None = None
) -> None:
    """A training step, with bfloat16 autocast if on a GPU or asked for."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda if autocast is None else autocast):
        loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--size', type=int, default=128)
    parser.add_argument('--compile', action='store_true', help='with torch.compile too')
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device('cuda' if cuda else 'cpu')
    how = 'bfloat16' if cuda else 'float32'
    settings = circumstances(f'batch {args.batch}', f'{args.size} pixels', f'{device.type}, {how}')
    report = Report('A training step', settings, args.json)

    for compiled in (False, True) if args.compile else (False,):
        for layout in (torch.contiguous_format, torch.channels_last):
            sides = {}
            for label, (name, plain) in NAMES.items():
                if compiled and plain:
                    continue
                model = make(name, plain).to(device, memory_format=layout)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
                run = torch.compile(model) if compiled else model
                x = torch.randn(args.batch, 3, args.size, args.size, device=device).contiguous(memory_format=layout)
                y = torch.randint(1000, (args.batch,), device=device)

                sides[label] = lambda step=(run, optimizer, x, y): seconds(lambda: train(*step))
            values = alternate(sides, args.rounds, warmup=3 if cuda or compiled else 1)
            suffix = ', channels last' if layout is torch.channels_last else ''
            suffix += ', compiled' if compiled else ''
            bound = '≤ 1.1' if compiled else '≤ 1.2'
            report.add(f'step{suffix}', values['DSK'], values['SK'], names=('DSK', 'SK'), asked=bound)
            if compiled:
                continue
            both = 'both units, masked'
            report.add(f'step{suffix}', values['DSK'], values[both], names=('DSK', both), asked='', times_faster=True)
            theirs = values["timm's SK"]
            report.add(f'step{suffix}', values['SK'], theirs, names=('SK', "SK by timm's layer"), times_faster=True)
    report.finish()


if __name__ == '__main__':
    main()
