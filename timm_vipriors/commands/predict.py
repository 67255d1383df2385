"""`timm-vipriors predict`"""

import argparse
import math
import os
from typing import Any

from ..errors import UserError
from .common import add_parser, check_output, read_class_names

_DESCRIPTION = """Write the class probabilities of every image in a folder to a score file (.npz). The folder may have a
folder for each class, or images alone."""

_EXAMPLES = [
    'timm-vipriors predict DATA --checkpoint output/train/RUN/last.pth.tar \\\n    -o scores.npz',
    'timm-vipriors predict DATA --checkpoint last.pth.tar --ema --tta ten-crop \\\n    --amp -o scores.npz',
    'timm-vipriors predict TEST_IMAGES --checkpoint last.pth.tar \\\n'
    '    --classes DATA/train --tta randaug:3 -o test.npz',
]

_NOTES = """What the training was told of the model and its images (name, size, mean, classes …) is read from the
checkpoint; a flag wins over it. The device is the best there is: cuda, mps or cpu. A score file is read by numpy.load.

Checkpoints of one run are averaged by timm's avg_checkpoints.py; several score files by `timm-vipriors ensemble`."""

# what a training script was told, and an evaluation must do alike
_FROM_TRAINING = (
    *('num_classes', 'in_chans', 'img_size', 'input_size', 'gp', 'model_kwargs'),
    *('mean', 'std', 'interpolation', 'crop_pct', 'crop_mode'),
)
# of which type these may be: a checkpoint may be anyone's
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(('num_classes', 'in_chans', 'img_size'), int),
    **dict.fromkeys(('input_size', 'mean', 'std'), (list, tuple)),
    **dict.fromkeys(('gp', 'interpolation', 'crop_mode'), str),
    'model_kwargs': dict,
    'crop_pct': (int, float),
}
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

    parser = add_parser(
        commands,
        'predict',
        help='write the class probabilities of images, with test-time augmentation',
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        notes=_NOTES,
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
    from ..data.datasets import CorruptImageError
    from ..inference.tta import parse_tta
    from ..scripts.checks import check_model, check_weights, explain_checkpoint
    from ..scripts.flag_checks import check_device
    from ..scripts.runner import default_device

    check_output(args.output, args.force)
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
    check_device(args.device)
    try:
        parse_tta(args.tta)
        trained = read_training(args)
        check_model(args.model)
        check_weights(args)
        check_numbers(args)
        scores = predict_scores(args, trained)
        scores.save(args.output)
    except CorruptImageError as e:
        raise UserError(e.sentence) from e
    except (ValueError, OSError, RuntimeError) as e:
        sentence = explain_checkpoint(args, e)
        if sentence is None and isinstance(e, RuntimeError):
            raise
        # from a worker process there is a traceback before the sentence
        raise UserError(sentence or (str(e).strip().splitlines() or [type(e).__name__])[-1]) from e
    print(summary(args, scores))
    return 0


def read_training(args: argparse.Namespace) -> dict[str, Any]:
    """Complete the arguments by those of the training, and return these."""
    from ..files import read_checkpoint
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
        args.model = next((m for m in (checkpoint.get('arch'), trained.get('model')) if isinstance(m, str) and m), None)
        if args.model is None:
            raise UserError(f'{args.checkpoint} does not say which model it is of: name it with --model')
    for key in _FROM_TRAINING:
        if getattr(args, key) in (None, '', {}) and trained.get(key) is not None:
            if not isinstance(trained[key], _TYPES[key]):
                raise UserError(
                    f'{args.checkpoint} says {key} = {trained[key]!r:.80} of its training, which cannot be: give '
                    f'--{key.replace("_", "-")}'
                )
            setattr(args, key, trained[key])
    if args.num_classes is None:
        args.num_classes = count_classes(checkpoint)
    return trained


def check_numbers(args: argparse.Namespace) -> None:
    """Raise if a number, of a flag or of the checkpoint, is out of its range."""
    channels = args.in_chans or (args.input_size[0] if args.input_size else 3)
    sizes = [*(args.input_size or []), args.img_size, args.in_chans, args.num_classes]
    if not all(isinstance(size, int) and size >= 1 for size in sizes if size is not None):
        raise UserError(f'expected sizes and numbers of channels and classes from 1, got {sizes}')
    if args.input_size and (len(args.input_size) != 3 or channels != args.input_size[0]):
        raise UserError(f'--input-size {args.input_size} does not fit to {channels} channels, height and width')
    if args.crop_pct is not None and not 0 < args.crop_pct < math.inf:
        raise UserError(f'--crop-pct must be above 0, got {args.crop_pct}')
    for name in ('mean', 'std'):
        values = getattr(args, name)
        if values is None:
            continue
        if len(values) not in (1, channels) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            raise UserError(f'--{name}: expected a finite number, or one for each of {channels} channels, got {values}')
        if name == 'std' and min(values) <= 0:
            raise UserError(f'--std must be above 0, got {values}')
    if not -(2**63) <= args.seed < 2**63:
        raise UserError(f'--seed must have at most 63 bits, got {args.seed}')


def make_model(args: argparse.Namespace) -> Any:
    """The model, without its weights unless they are timm's."""
    import timm

    try:
        return timm.create_model(
            args.model,
            pretrained=args.pretrained,
            num_classes=args.num_classes,
            in_chans=args.in_chans or (args.input_size[0] if args.input_size else 3),
            global_pool=args.gp,
            **args.model_kwargs,
        )
    except Exception as e:  # --model-kwargs goes into the model as it is
        raise UserError(f'the model {args.model} cannot be made with these flags: {e or type(e).__name__}') from e


def predict_scores(args: argparse.Namespace, trained: dict[str, Any]) -> Any:
    """Make the model and predict."""
    import torch
    from timm.data import resolve_data_config
    from timm.models import load_checkpoint
    from timm.utils import reparameterize_model

    from ..inference.predict import predict

    names = find_class_names(args)
    torch.manual_seed(args.seed)
    model = make_model(args)
    if args.checkpoint:
        try:
            load_checkpoint(model, args.checkpoint, use_ema=args.ema, weights_only=True)
        except (AttributeError, TypeError, KeyError) as e:  # where weights should be is something else
            raise UserError(f'{args.checkpoint} has no weights that a model can load: {e}') from e
    model = model.to(args.device)
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    data_config = resolve_data_config(vars(args), model=model)
    try_out(model, data_config['input_size'], args)
    if args.reparam:
        model = reparameterize_model(model.eval())
    if args.torchcompile:
        try:
            model = torch.compile(model.eval(), backend=args.torchcompile)
        except Exception as e:
            raise UserError(f'--torchcompile {args.torchcompile}: {str(e).strip().splitlines()[0]}') from e
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


def try_out(model: Any, size: tuple[int, ...], args: argparse.Namespace) -> None:
    """Raise if the model cannot take an image of a size."""
    import torch

    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *size, device=args.device))
    except Exception as e:  # timm has asserts, torch a RuntimeError
        said = str(e).strip().splitlines() or [type(e).__name__]
        raise UserError(f'{args.model} cannot take images of the size {tuple(size)}: {said[0]}') from e


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
