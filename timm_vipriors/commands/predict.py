"""`timm-vipriors predict`"""

import argparse
import os
import time

from ..errors import UserError
from ..files import default_workers
from .common import add_parser, check_output, read_class_names

_DESCRIPTION = """Write the class probabilities of every image in a folder to a score file (.npz). The folder may have a
folder for each class, or images alone."""

_EXAMPLES = [
    'timm-vipriors predict DATA --checkpoint output/train/RUN/last.pth.tar \\\n    -o scores.npz',
    'timm-vipriors predict DATA --checkpoint last.pth.tar --ema --tta ten-crop \\\n    --amp -o scores.npz',
    'timm-vipriors predict TEST_IMAGES --checkpoint last.pth.tar \\\n'
    '    --classes DATA/train --tta randaug:3 -o test.npz',
]

_NOTES = """The model and its classes, and how its images are prepared (size, mean, crop …), are read from the
checkpoint; a flag wins over it. Folders are labels where their names are classes of the model. The device is the best
there is: cuda, mps or cpu. A score file is read by numpy.load.

Checkpoints of one run are averaged by timm's avg_checkpoints.py; several score files by `timm-vipriors ensemble`."""


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
    checkpoint = "of timm's train script, a state dict, or the folder of a run"
    flag(parser, '--checkpoint', default='', metavar='FILE', help=checkpoint)
    flag(parser, '--ema', '--use-ema', action='store_true', help='take the averaged weights')
    flag(parser, '--tta', default='none', metavar='VIEWS', help='none, hflip, ten-crop or randaug:N')
    flag(parser, '--aa', metavar='POLICY', help="of randaug:N, the training's own if not given")
    group = parser.add_argument_group('data')
    flag(group, '--split', type=str, default='validation', help="split's folder, if DATA has splits")
    classes = (
        "the model's classes in order, if the checkpoint names none: a text file with one a line, or a data folder"
    )
    flag(group, '--classes', metavar='FILE', help=classes)
    flag(group, '-b', '--batch-size', type=int, default=128, help='images in a batch, whatever the number of views')
    flag(group, '-j', '--workers', type=int, default=default_workers(), help='processes that load images')
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
    from ..data.datasets import CorruptImageError, register_image_extensions
    from ..files import first_line
    from ..inference.scores import check_score_path
    from ..inference.tta import parse_tta
    from ..scripts.checks import check_model
    from ..scripts.flag_checks import check_device
    from ..scripts.runner import default_device

    check_output(args.output, args.force)
    register_image_extensions()
    if not os.path.isdir(args.data):
        raise UserError(f'the data folder {args.data} does not exist')
    if bool(args.checkpoint) == args.pretrained:
        raise UserError('name the weights: --checkpoint FILE, or --pretrained for those that timm publishes')
    if args.pretrained and args.model is None:
        raise UserError('--pretrained needs a --model')
    if args.batch_size < 1 or args.workers < 0:
        raise UserError(f'expected a --batch-size from 1 and --workers from 0: {args.batch_size}, {args.workers}')
    args.device = args.device or default_device()
    check_device(args.device)
    if args.model is not None:
        check_model(args.model)
    try:
        check_score_path(args.output)
        parse_tta(args.tta)
        line = predict(args)
    except CorruptImageError as e:
        raise UserError(e.sentence) from e
    except (ValueError, OSError) as e:
        raise UserError(first_line(e)) from e
    print(line)
    return 0


def predict(args: argparse.Namespace) -> str:
    """Predict and write the score file; return the line that says what was written, and how right it is."""
    import torch

    from ..files import first_line, plural
    from ..inference.classifier import SETTINGS, load_classifier
    from ..inference.metrics import balanced_accuracy, in_top
    from ..inference.tta import parse_tta

    classifier = load_classifier(
        args.checkpoint or None,
        model=args.model,
        class_names=read_class_names(args.classes) if args.classes else None,
        use_ema=args.ema,
        device=args.device,
        fuse=args.reparam,
        **{name: getattr(args, name) for name in SETTINGS},
    )
    if args.torchcompile:
        try:
            classifier.model = torch.compile(classifier.model, backend=args.torchcompile)
        except Exception as e:
            raise UserError(f'--torchcompile {args.torchcompile}: {first_line(e)}') from e
    if args.aa:
        classifier.train_config['auto_augment'] = args.aa
    started = time.perf_counter()
    scores = classifier.predict(
        args.data,
        split=args.split,
        tta=args.tta,
        batch_size=args.batch_size,
        workers=args.workers,
        amp_dtype=getattr(torch, args.amp_dtype) if args.amp else None,
        channels_last=args.channels_last,
        seed=args.seed,
    )
    count, seconds, views = len(scores.filenames), time.perf_counter() - started, parse_tta(args.tta)[1]
    scores.save(args.output)
    what = f'{plural(count, "image")}{"" if views == 1 else f", {views} views of each"}'
    classes = plural(scores.scores.shape[1], 'class', 'classes')
    line = f'{args.output}: {what}, {classes}, {count / seconds:,.0f} images/s'
    if scores.targets is None:
        return f'{line}; no targets'
    known = scores.targets >= 0
    right, right5 = (in_top(scores.scores[known], scores.targets[known], k) for k in (1, 5))
    line += f'; top-1 {100 * right.mean():.2f} %, top-5 {100 * right5.mean():.2f} %'
    balanced = balanced_accuracy(right, scores.targets[known])
    if abs(balanced - right.mean()) > 1e-9:  # the classes have different numbers of images
        line += f', mean over the classes {100 * balanced:.2f} %'
    return line if known.all() else f'{line} of the {known.sum():,} in the folder of a class'
