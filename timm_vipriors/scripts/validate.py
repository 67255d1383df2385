"""The bundled validation script, for those without a checkout of timm: its parts in the order of its validate.py."""

import csv
import json
import logging
from collections import OrderedDict
from contextlib import nullcontext
from functools import partial

import torch
from timm import utils
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.models import create_model, load_checkpoint
from timm.utils import reparameterize_model

from timm_vipriors.scripts.options import ScriptParser, add_crop_mode, add_data_options, add_model_options, flag

_logger = logging.getLogger('validate')

parser = ScriptParser()
add_data_options(parser, batch_size=256)
add_model_options(parser)
group = parser.add_argument_group('validation')
flag(group, '--split', type=str, default='validation', help='split to measure on')
flag(group, '--checkpoint', default='', metavar='FILE', help='checkpoint of the model')
add_crop_mode(group)
flag(group, '--use-ema', action='store_true', help="the checkpoint's averaged weights, if it has them")
flag(group, '--reparam', action='store_true', help='fuse the model first')
flag(group, '--log-freq', type=int, default=10, help='batches between two lines of the log')
flag(group, '--results-file', default='', metavar='FILE', help='CSV file for the result')


@torch.inference_mode()
def validate(args) -> OrderedDict:
    """Measure one model and return its figures."""
    device = torch.device(args.device)
    utils.random_seed(args.seed)
    model = create_model(
        args.model,
        pretrained=args.pretrained or not args.checkpoint,
        num_classes=args.num_classes,
        in_chans=args.in_chans or (args.input_size[0] if args.input_size else 3),
        global_pool=args.gp,
        **args.model_kwargs,
    )
    if args.checkpoint:
        load_checkpoint(model, args.checkpoint, args.use_ema, weights_only=True)
    if args.reparam:
        model = reparameterize_model(model)
    param_count = sum(p.numel() for p in model.parameters())
    data_config = resolve_data_config(vars(args), model=model, use_test_size=True)
    model = model.to(device=device).eval()
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if args.torchcompile:
        model = torch.compile(model, backend=args.torchcompile)
    amp_autocast = nullcontext
    if args.amp:
        amp_autocast = partial(torch.autocast, device_type=device.type, dtype=getattr(torch, args.amp_dtype))

    dataset = create_dataset(
        root=args.data_dir or args.data,
        name=args.dataset,
        split=args.split,
        class_map=args.class_map,
        input_img_mode='RGB' if data_config['input_size'][0] == 3 else 'L',
        seed=args.seed,
    )
    loader = create_loader(
        dataset,
        input_size=data_config['input_size'],
        batch_size=args.batch_size,
        use_prefetcher=not args.no_prefetcher,
        interpolation=data_config['interpolation'],
        mean=data_config['mean'],
        std=data_config['std'],
        num_workers=args.workers,
        crop_pct=data_config['crop_pct'],
        crop_mode=data_config['crop_mode'],
        pin_memory=args.pin_mem,
        device=device,
    )
    top1, top5 = utils.AverageMeter(), utils.AverageMeter()
    for index, (input, target) in enumerate(loader):
        if args.no_prefetcher:
            input, target = input.to(device), target.to(device)
        if args.channels_last:
            input = input.contiguous(memory_format=torch.channels_last)
        with amp_autocast():
            output = model(input)
        acc1, acc5 = utils.accuracy(output, target, topk=(1, 5))
        top1.update(acc1.item(), output.shape[0])
        top5.update(acc5.item(), output.shape[0])
        if index % args.log_freq == 0:
            _logger.info(f'Test {index + 1}/{len(loader)}  Acc@1 {top1.avg:.3f}  Acc@5 {top5.avg:.3f}')
    return OrderedDict(
        model=args.model,
        top1=round(top1.avg, 4),
        top1_err=round(100 - top1.avg, 4),
        top5=round(top5.avg, 4),
        top5_err=round(100 - top5.avg, 4),
        param_count=round(param_count / 1e6, 2),
        img_size=data_config['input_size'][-1],
        crop_pct=data_config['crop_pct'],
        interpolation=data_config['interpolation'],
    )


def main() -> None:
    utils.setup_default_logging()
    args = parser.parse_args()
    results = validate(args)
    _logger.info(f' * Acc@1 {results["top1"]:.3f} Acc@5 {results["top5"]:.3f} on {args.split}')
    if args.results_file:
        with open(args.results_file, 'w', newline='') as f:
            writer = csv.DictWriter(f, fieldnames=results)
            writer.writeheader()
            writer.writerow(results)
    print(f'--result\n{json.dumps(results, indent=4)}')


if __name__ == '__main__':
    main()
