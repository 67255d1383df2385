"""Classify images, with test-time augmentation.

Print the most probable classes of images, or write the class probabilities of every image in a folder to a score file
(.npz), or their classes to a submission (.csv). The folder may have a folder for each class, or images alone.
"""

import argparse
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UserError
from .common import add_parser, add_submission_flags, check_outputs, read_class_names, write_submission

if TYPE_CHECKING:
    from ..hierarchy import ClassHierarchy
    from ..inference.classifier import Classifier

_EXAMPLES = [
    'timm-vipriors predict photo.jpg --checkpoint output/train/RUN',
    'timm-vipriors predict DATA --checkpoint output/train/RUN/last.pth.tar \\\n    -o scores.npz',
    'timm-vipriors predict DATA --checkpoint last.pth.tar --tta ten-crop \\\n    --amp -o scores.npz',
    'timm-vipriors predict TEST_IMAGES --checkpoint last.pth.tar \\\n'
    '    --classes DATA/train --tta randaug:3 --submission test.csv',
    'timm-vipriors predict DATA --checkpoint output/train/RUN \\\n    --hierarchy tree.json',
]

_NOTES = """The model and its classes, and how its images are prepared (size, mean, crop …), are read from the
checkpoint; a flag wins over it. Folders are labels where their names are classes of the model. The device is the best
there is: cuda, mps or cpu. A score file is read by numpy.load.

With --hierarchy an image's decisions are those of hard inference: from the root down to the most probable child.
A folder with labels gets the accuracy at each node and superclass, and how far in the tree the mistakes are.

Checkpoints of one run are averaged by timm's avg_checkpoints.py; several score files by `timm-vipriors ensemble`."""
_MOST = 3  # classes that are printed of an image


def add(commands: argparse._SubParsersAction) -> None:
    from ..scripts.options import add_crop_mode, add_image_options, add_model_options, flag

    parser = add_parser(commands, 'predict', run, __doc__, _EXAMPLES, _NOTES)
    parser.add_argument('data', nargs='+', metavar='DATA', help='folder of images, or image files')
    flag(parser, '-o', '--output', metavar='FILE', help='score file to write')
    add_submission_flags(parser, 'id,label', 'names')
    flag(parser, '--force', action='store_true', help='overwrite existing files')
    flag(parser, '--hierarchy', metavar='FILE', help='tree of the classes, to show its decisions')
    checkpoint = "of timm's train script, a state dict, or the folder of a run or of the hub"
    flag(parser, '--checkpoint', default='', metavar='FILE', help=checkpoint)
    averaged = 'averaged weights, or the plain ones (default: averaged where there are any)'
    flag(parser, '--ema', '--use-ema', action=argparse.BooleanOptionalAction, help=averaged)
    flag(parser, '--tta', default='none', metavar='VIEWS', help='none, hflip, ten-crop or randaug:N')
    flag(parser, '--aa', metavar='POLICY', help="of randaug:N, the training's own if not given")
    group = parser.add_argument_group('data')
    flag(group, '--split', type=str, default='validation', help="split's folder, if DATA has splits")
    classes = "the model's classes in order, if the checkpoint names none: a file with one a line, or a data folder"
    flag(group, '--classes', metavar='FILE', help=classes)
    add_image_options(group, batch_size=128)
    add_crop_mode(group)
    add_model_options(parser)
    flag(parser, '--reparam', action='store_true', help='fuse what can be fused first')
    parser.set_defaults(model=None, device=None)


def run(args: argparse.Namespace) -> int:
    import torch

    from ..data.datasets import CorruptImageError, register_image_extensions
    from ..hierarchy import ClassHierarchy
    from ..inference.tta import parse_tta
    from ..scripts.checks import check_model
    from ..scripts.flag_checks import check_device
    from ..scripts.runner import default_device

    register_image_extensions()
    is_folder = _check_data(args)
    if bool(args.checkpoint) == args.pretrained:
        raise UserError('give the weights: --checkpoint FILE, or --pretrained for those that timm publishes')
    if args.pretrained and args.model is None:
        raise UserError('--pretrained needs a --model')
    device = args.device or default_device()
    check_device(device)
    if args.model is not None:
        check_model(args.model)
    check_outputs([args.submission], args.output, args.force, [args.checkpoint, args.classes, args.hierarchy])
    parse_tta(args.tta)
    try:
        tree = ClassHierarchy.load(args.hierarchy) if args.hierarchy else None
        amp_dtype = getattr(torch, args.amp_dtype) if args.amp else None
        how = dict(tta=args.tta, amp_dtype=amp_dtype, channels_last=args.channels_last, seed=args.seed)
        print((predict_folder if is_folder else predict_images)(args, _load(args, device), tree, how))
    except CorruptImageError as e:
        raise UserError(e.sentence) from e
    return 0


def _check_data(args: argparse.Namespace) -> bool:
    """Whether the data are a folder, whose classes are written to a file, or image files, whose classes are printed."""
    for path in args.data:
        if not os.path.exists(path):
            raise UserError(f'the data folder or image {path} does not exist')
    if len(args.data) > 1 and any(map(os.path.isdir, args.data)):
        raise UserError('expected either one folder or image files')
    is_folder, written = os.path.isdir(args.data[0]), args.output is not None or args.submission is not None
    if not is_folder and written:
        raise UserError('-o and --submission need a folder: put the images into one, or leave out the flags')
    if is_folder and not (written or args.hierarchy):
        raise UserError(f'{args.data[0]} is a folder: add -o scores.npz or --submission submission.csv')
    return is_folder


def _load(args: argparse.Namespace, device: str) -> 'Classifier':
    from ..files import first_line
    from ..inference.classifier import SETTINGS, load_classifier

    classifier = load_classifier(
        args.checkpoint or None,
        model=args.model,
        class_names=read_class_names(args.classes),
        use_ema=args.ema,
        device=device,
        fuse=args.reparam,
        **{name: getattr(args, name) for name in SETTINGS},
    )
    if args.torchcompile:
        try:
            classifier.model.compile(backend=args.torchcompile)
        except Exception as e:  # torch's own of a backend that it does not know
            raise UserError(f'--torchcompile {args.torchcompile}: {first_line(e)}') from e
    if args.aa:
        classifier.train_config['auto_augment'] = args.aa
    return classifier


def _reordered(tree: 'ClassHierarchy', class_names: Sequence[str] | None) -> 'ClassHierarchy':
    if class_names is None:
        raise UserError('--hierarchy needs the names of the classes, which the checkpoint does not say: give --classes')
    return tree.reordered([str(name) for name in class_names])


def predict_images(args: argparse.Namespace, classifier: 'Classifier', tree: 'ClassHierarchy | None', how: dict) -> str:
    """A line for each image with its most probable classes, and one with its decisions in the tree."""
    import numpy as np

    from ..files import percent, printable
    from ..hierarchy import log_probabilities, tree_decisions
    from ..hierarchy.accuracy import node_name

    tree = tree and _reordered(tree, classifier.class_names)
    lines = []
    for path, found in zip(args.data, classifier(args.data, **how), strict=True):
        best = (f'{printable(name)} {percent(p)}' for name, p in list(found.items())[:_MOST])
        lines.append(f'{printable(path)}: {", ".join(best)}')
        if tree:
            decisions = tree_decisions(log_probabilities(np.array([[found[n] for n in tree.class_names]])), tree)
            way = (f'{node_name(tree, node)} {percent(p)}' for node, p in decisions.path(0))
            lines.append(f'  in the tree: {" → ".join(way)}')
    return '\n'.join(lines)


def predict_folder(args: argparse.Namespace, classifier: 'Classifier', tree: 'ClassHierarchy | None', how: dict) -> str:
    """Predict, write what is asked for, and say what was written, and how right it is."""
    from ..files import percent, plural
    from ..hierarchy import log_probabilities, tree_accuracy
    from ..inference.metrics import balanced_accuracy, in_top
    from ..inference.tta import parse_tta

    started, data = time.perf_counter(), args.data[0]
    scores = classifier.predict(data, split=args.split, batch_size=args.batch_size, workers=args.workers, **how)
    count, seconds, views = len(scores.filenames), time.perf_counter() - started, parse_tta(args.tta)[1]
    known = None if scores.targets is None else scores.targets >= 0
    if tree:
        tree = _reordered(tree, scores.class_names)
        if known is None or not known.any():
            raise UserError(f'{data} has no labels to measure the tree by: name image files to see their decisions')
    if args.submission:
        write_submission(args, scores.filenames, scores.scores.argmax(axis=1), scores.class_names)
    if args.output:
        scores.save(args.output)
    what = plural(count, 'image') + ('' if views == 1 else f', {views} views of each')
    classes = plural(scores.scores.shape[1], 'class', 'classes')
    where = ' and '.join(path for path in (args.output, args.submission) if path) or data
    line = f'{where}: {what}, {classes}, {count / seconds:,.0f} images/s'
    if known is None:
        return f'{line}; no targets'
    right, right5 = (in_top(scores.scores[known], scores.targets[known], k) for k in (1, 5))
    line += f'; top-1 {percent(right.mean())}, top-5 {percent(right5.mean())}'
    balanced = balanced_accuracy(right, scores.targets[known])
    if abs(balanced - right.mean()) > 1e-9:  # the classes have different numbers of images
        line += f', balanced accuracy {percent(balanced)}'
    if not known.all():
        line += f' of the {known.sum():,} in the folder of a class'
    if tree:
        line += f'\n{tree_accuracy(log_probabilities(scores.scores[known]), scores.targets[known], tree)}'
    return line
