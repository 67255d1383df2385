"""What fusing the dual branch gives in inference: plain, fused, compiled, fused and compiled.

    python tests/benchmarks/dsk_inference.py [--model dsk_resnext50_32x4d] [--compiled-model dsk_resnext26_32x4d]

On the CPU in float32; on a GPU with bfloat16 autocast. Compiling on the CPU takes a minute or more a network, so there
a smaller one is compiled by default.
"""

import timm
import torch
from side_by_side import Report, alternate, circumstances, make_parser, seconds
from timm.utils import reparameterize_model
from torch import nn

import timm_vipriors  # noqa: F401  registers the models


def make(name: str, device: torch.device) -> nn.Module:
    """A network whose BatchNorm has seen something."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=1000).train()
    with torch.no_grad():
        model(torch.randn(8, 3, 64, 64))
    return model.eval().to(device)


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument('--model', default='dsk_resnext50_32x4d')
    parser.add_argument('--compiled-model', help='dsk_resnext26_32x4d on the CPU, the same model on a GPU')
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 64])
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--skip-compiled', action='store_true')
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device('cuda' if cuda else 'cpu')
    how = 'bfloat16' if cuda else 'float32'
    report = Report('Inference', circumstances(f'{args.size} pixels', f'{device.type}, {how}'), args.json)
    compiled_name = args.compiled_model or (args.model if cuda else 'dsk_resnext26_32x4d')

    def side(model: nn.Module, x: torch.Tensor):
        def run() -> None:
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=cuda):
                model(x)

        return lambda: seconds(run)

    for name, compiled in ((args.model, False), (compiled_name, True)):
        if compiled and args.skip_compiled:
            continue
        model = make(name, device)
        models = {'plain': model, 'fused': reparameterize_model(model)}
        with torch.inference_mode():
            x = torch.randn(2, 3, args.size, args.size, device=device)
            torch.testing.assert_close(models['plain'](x), models['fused'](x), rtol=1e-4, atol=1e-4)
        # a batch of the compiled ones is enough: each size is another compilation
        for batch in args.batches[: 1 if compiled and not cuda else None]:
            x = torch.randn(batch, 3, args.size, args.size, device=device)
            sides = {key: side(m, x) for key, m in models.items()}
            if compiled:
                torch._dynamo.reset()
                sides |= {f'{key}, compiled': side(torch.compile(m, dynamic=False), x) for key, m in models.items()}
            values = alternate(sides, args.rounds if batch == 1 else max(args.rounds // 2, 2), warmup=2)
            what = f'{name}, batch {batch}'
            bound = '≥ 1.3' if cuda and batch == 1 else '≥ 1'
            if not compiled:
                report.add(
                    what, values['fused'], values['plain'], names=('fused', 'plain'), asked=bound, times_faster=True
                )
                continue
            for key in ('plain, compiled', 'fused, compiled'):
                report.add(what, values[key], values['plain'], names=(key, 'plain'), times_faster=True)
    report.finish()


if __name__ == '__main__':
    main()
