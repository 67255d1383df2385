"""`timm-vipriors predict`"""

import argparse
import os
from typing import Any

from ..errors import UserError
from .common import check_free, read_class_names

_DESCRIPTION = """Write the class probabilities of every image in a folder to a score file (.npz). The folder may have a
folder for each class, or images alone. What the training was told of the model and its images (size, mean, classes …)
is read from the checkpoint; a flag wins over it."""

_EPILOG = """examples:
  timm-vipriors predict DATA --checkpoint output/train/RUN/last.pth.tar -o scores.npz
  timm-vipriors predict DATA --checkpoint last.pth.tar --ema --tta ten-crop --amp -o scores.npz
  timm-vipriors predict TEST_IMAGES --checkpoint last.pth.tar --classes DATA/train --tta randaug:3 -o test.npz
  python -c "import numpy; print(numpy.load('scores.npz')['scores'].shape)"

Checkpoints of one run are averaged by timm's avg_checkpoints.py; several score files by `timm-vipriors ensemble`.
"""

# what a training script was told, and an evaluation must do alike
_FROM_TRAINING = (
    *('num_classes', 'in_chans', 'img_size', 'input_size', 'gp', 'model_kwargs'),
    *('mean', 'std', 'interpolation', 'crop_pct', 'crop_mode'),
)
# its transform, by the names of timm's create_transform
_TRAINING_TRANSFORM = {
    'aa': 'auto_augment',
    'scale': 'scale',
    'ratio': 'ratio',
    'hflip': 'hflip',
    'vflip': 'vflip',
    'color_jitter': 'color_jitter',
    'train_interpolation': 'interpolation',
}


def add(commands: argparse._SubParsersAction) -> None:
    from ..scripts.options import add_model_options, flag

    parser = commands.add_parser(
        'predict',
        help='write the class probabilities of images, with test-time augmentation',
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('data', metavar='DATA', help='folder of images')
    flag(parser, '-o', '--output', required=True, metavar='FILE', help='score file to write')
    flag(parser, '--force', action='store_true', help='write over an existing file')
    flag(parser, '--checkpoint', default='', metavar='FILE', help="of timm's train script, or a state dict")
    flag(parser, '--ema', '--use-ema', action='store_true', help='take the averaged weights')
    flag(parser, '--tta', default='none', metavar='VIEWS', help='none, hflip, ten-crop or randaug:N')
    flag(parser, '--aa', metavar='POLICY', help="of randaug:N, the training's own if not given")
    group = parser.add_argument_group('data')
    flag(group, '--split', type=str, default='validation', help="split's folder, if DATA has splits")
    flag(
        group,
        '--classes',
        metavar='FILE',
        help="the model's classes in order: a text file with one a line, or a folder with a folder for each; "
        'those of DATA if it has as many',
    )
    flag(group, '-b', '--batch-size', type=int, default=128, help='images in a batch, whatever the number of views')
    flag(group, '-j', '--workers', type=int, default=4, help='processes that load images')
    flag(group, '--img-size', type=int, help="width and height of the network's input")
    flag(group, '--in-chans', type=int, help="channels of the network's input")
    flag(group, '--input-size', nargs=3, type=int, metavar='N', help='channels, height and width at once')
    flag(group, '--crop-pct', type=float, help='part of the image that is evaluated')
    flag(group, '--crop-mode', type=str, help='center, squash or border')
    flag(group, '--mean', type=float, nargs='+', metavar='X', help='mean of the pixels, by channel')
    flag(group, '--std', type=float, nargs='+', metavar='X', help='standard deviation of the pixels, by channel')
    flag(group, '--interpolation', type=str, default='', help='how images are resized')
    add_model_options(parser)
    flag(parser, '--reparam', action='store_true', help='fuse what can be fused first')
    parser.set_defaults(run=run, model=None, device=None)


def run(args: argparse.Namespace) -> int:
    from ..data.strict import CorruptImageError
    from ..inference.tta import parse_tta
    from ..scripts.preflight import check_model, explain_checkpoint
    from ..scripts.runner import default_device

    check_free(args.output, args.force)
    folder = os.path.dirname(os.path.abspath(args.output))
    if not os.path.isdir(folder):
        raise UserError(f'-o {args.output}: there is no folder {folder}')
    if not os.path.isdir(args.data):
        raise UserError(f'the data folder {args.data} does not exist')
    if bool(args.checkpoint) == args.pretrained:
        raise UserError('name the weights: --checkpoint FILE, or --pretrained for those that timm publishes')
    if args.batch_size < 1 or args.workers < 0:
        raise UserError(f'expected a --batch-size from 1 and --workers from 0: {args.batch_size}, {args.workers}')
    args.device = args.device or default_device()
    try:
        parse_tta(args.tta)
        trained = read_training(args)
        check_model(args.model)
        scores = predict_scores(args, trained)
        scores.save(args.output)
    except CorruptImageError as e:
        raise UserError(e.sentence) from e
    except (ValueError, OSError, RuntimeError) as e:
        sentence = explain_checkpoint(args, e)
        if sentence is None and isinstance(e, RuntimeError):
            raise
        raise UserError(sentence or str(e)) from e
    print(summary(args, scores))
    return 0


def read_training(args: argparse.Namespace) -> dict[str, Any]:
    """Complete the arguments by those of the training, and return these."""
    from ..checkpoint import read_checkpoint
    from ..scripts.preflight import count_classes

    if not args.checkpoint:
        if args.model is None:
            raise UserError('--pretrained needs a --model')
        return {}
    checkpoint = read_checkpoint(args.checkpoint)
    if args.ema and 'state_dict_ema' not in checkpoint:
        raise UserError(f'{args.checkpoint} has no averaged weights: leave --ema out, or train with --model-ema')
    trained = dict(vars(checkpoint['args'])) if isinstance(checkpoint.get('args'), argparse.Namespace) else {}
    if args.model is None:
        args.model = checkpoint.get('arch') or trained.get('model')
        if args.model is None:
            raise UserError(f'{args.checkpoint} does not say which model it is of: name it with --model')
    for key in _FROM_TRAINING:
        if getattr(args, key) in (None, '', {}) and trained.get(key) is not None:
            setattr(args, key, trained[key])
    if args.num_classes is None:
        args.num_classes = count_classes(checkpoint)
    return trained


def predict_scores(args: argparse.Namespace, trained: dict[str, Any]) -> Any:
    """Make the model and predict."""
    import timm
    import torch
    from timm.data import resolve_data_config
    from timm.models import load_checkpoint
    from timm.utils import reparameterize_model

    from ..inference.predict import predict

    names = find_class_names(args)
    torch.manual_seed(args.seed)
    model = timm.create_model(
        args.model,
        pretrained=args.pretrained,
        num_classes=args.num_classes,
        in_chans=args.in_chans or (args.input_size[0] if args.input_size else 3),
        global_pool=args.gp,
        **args.model_kwargs,
    )
    if args.checkpoint:
        load_checkpoint(model, args.checkpoint, use_ema=args.ema, weights_only=True)
    model = model.to(args.device)
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    data_config = resolve_data_config(vars(args), model=model)
    if args.reparam:
        model = reparameterize_model(model.eval())
    if args.torchcompile:
        model = torch.compile(model.eval(), backend=args.torchcompile)
    train_config = {
        ours: trained[theirs] for theirs, ours in _TRAINING_TRANSFORM.items() if trained.get(theirs) not in (None, '')
    }
    if args.aa:
        train_config['auto_augment'] = args.aa
    return predict(
        model,
        args.data,
        data_config,
        split=args.split,
        class_names=names,
        model_name=args.model,
        tta=args.tta,
        train_config=train_config,
        batch_size=args.batch_size,
        workers=args.workers,
        device=args.device,
        amp_dtype=getattr(torch, args.amp_dtype) if args.amp else None,
        channels_last=args.channels_last,
        seed=args.seed,
        report=lambda line: setattr(args, 'speed', line),
    )


def find_class_names(args: argparse.Namespace) -> list[str] | None:
    """The model's classes: those that are named, or those of the data's own training split if they are as many."""
    if args.classes:
        return read_class_names(args.classes)
    train = os.path.join(args.data, 'train')
    if os.path.isdir(train):
        names = read_class_names(train)
        return names if len(names) == args.num_classes else None
    return None


def summary(args: argparse.Namespace, scores: Any) -> str:
    """The last line: what was written, and how right it is where that is known."""
    from ..inference.ensemble import in_top
    from ..inference.tta import parse_tta

    number = parse_tta(args.tta)[1]
    views = '' if number == 1 else f', {number} views of each'
    line = f'{args.output}: {len(scores.scores):,} images{views}, {scores.scores.shape[1]:,} classes, {args.speed}'
    if scores.targets is None:
        return line + '; no targets'
    known = scores.targets >= 0
    top1, top5 = (100 * in_top(scores.scores[known], scores.targets[known], k).mean() for k in (1, 5))
    unknown = '' if known.all() else f' of the {known.sum():,} with a class of the model'
    return line + f'; top-1 {top1:.2f} %, top-5 {top5:.2f} %{unknown}'
