"""The flags of the scripts: ours, and of the bundled ones a selection of timm's, with the same names and meanings."""

import argparse
from typing import Any, NoReturn

from ..files import default_workers
from ..help_formatter import HelpFormatter, make_epilog

DEFAULT_PROB = 0.5  # of LSB swap
# what `Plugin` and the checks ask for where a script has no such flag: ours in validation, and those of timm's scripts
# that the bundled ones or other versions of timm do not have
ABSENT: dict[str, Any] = dict(
    epochs=1, resume='', initial_checkpoint='', checkpoint='', cache='off', cache_shrink=False, nonfinite='stop',
    check_images=False, class_weights=None, pretrained_path=None, real_labels='', jsd_loss=False, bce_loss=False,
    kd_model_name=None, naflex_loader=False, train_img_sizes=None,
)  # fmt: skip
SCRIPTS_HINT = (
    "If timm's own script has it, get timm's scripts and point TIMM_SCRIPTS at them: "
    'git clone https://github.com/huggingface/pytorch-image-models && '
    'export TIMM_SCRIPTS="$PWD/pytorch-image-models"'
)

_DESCRIPTIONS = {
    'train': "Train a model by timm's train.py. The flags of the group timm-vipriors are ours.",
    'validate': "Measure a model on a split by timm's validate.py.",
}
_EXAMPLES = {
    'train': [
        'timm-vipriors train DATA --model dsk_resnext50_32x4d --epochs 100',
        'timm-vipriors train DATA --model dsk_resnext50_32x4d --criterion pcl+center',
        'timm-vipriors train DATA --model efficientnet_b3 --criterion focal-cosine \\\n'
        '    --criterion-kwargs gamma=2 xent_weight=0.1 --smoothing 0 --lsb-swap 2',
        'timm-vipriors train DATA --model resnet50 --experiment mine --resume auto',
    ],
    'validate': [
        'timm-vipriors validate DATA --model dsk_resnext50_32x4d \\\n    --checkpoint output/train/RUN/last.pth.tar',
        'timm-vipriors validate DATA --model dsk_resnext50_32x4d \\\n    --checkpoint last.pth.tar --use-ema --reparam',
    ],
}
_NOTES = """DATA has a folder for each split, train and validation, and in these a folder for each class. TIMM_SCRIPTS
is the path of a checkout of pytorch-image-models, of the version of the installed timm; where it is not set, a bundled
script runs, which has a selection of the flags."""


class ScriptParser(argparse.ArgumentParser):
    """An argument parser that says where the flags are that it does not know."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{'formatter_class': HelpFormatter, **kwargs})

    def error(self, message: str) -> NoReturn:
        if message.startswith('unrecognized arguments'):
            message += f' (the bundled script has no such flag). {SCRIPTS_HINT}'
        super().error(message)


class KeyValues(argparse.Action):
    """timm's `key=value …`, with a sentence for what is not one."""

    def __call__(self, parser, namespace, values, option_string=None):
        from timm.utils import ParseKwargs  # here: a parser is made before timm is needed

        for value in values:
            if '=' not in value:
                parser.error(f'{option_string}: expected key=value, got {value!r} (name the data folder before it)')
        ParseKwargs.__call__(self, parser, namespace, values, option_string)


def flag(group: Any, *names: str, **kwargs: Any) -> None:
    """Add a flag; a type without a metavar shows as its name."""
    if kwargs.get('action') is None and not kwargs.keys() & {'metavar', 'choices'} and 'type' in kwargs:
        kwargs['metavar'] = {int: 'N', float: 'X', str: 'NAME'}.get(kwargs['type'])
    group.add_argument(*names, **kwargs)


def add_data_options(parser: argparse.ArgumentParser, batch_size: int) -> None:
    """Flags of the data set, its images and its loader."""
    parser.add_argument('data', nargs='?', metavar='DIR', help='root of the data set')
    group = parser.add_argument_group('data')
    flag(group, '--data-dir', metavar='DIR', help='root of the data set, instead of DIR')
    flag(group, '--dataset', default='', metavar='TYPE/NAME', help="of timm's readers; a folder of images if empty")
    flag(group, '--class-map', default='', metavar='FILE', help='file with the class names in order')
    add_image_options(group, batch_size)
    flag(group, '--pin-mem', action='store_true', help='pin the memory of the loaded images')
    flag(group, '--no-prefetcher', action='store_true', help='normalise in the workers, not on the device')


def add_image_options(group: Any, batch_size: int) -> None:
    """Flags of how images are prepared, and loaded in batches."""
    flag(group, '--img-size', type=int, help="width and height of the network's input; the model's own if not given")
    flag(group, '--in-chans', type=int, help="channels of the network's input")
    flag(group, '--input-size', nargs=3, type=int, metavar='N', help='channels, height and width at once')
    flag(group, '--crop-pct', type=float, help='fraction of the image that the center crop keeps')
    flag(group, '--mean', type=float, nargs='+', metavar='X', help='mean of the pixels, by channel')
    flag(group, '--std', type=float, nargs='+', metavar='X', help='standard deviation of the pixels, by channel')
    flag(group, '--interpolation', type=str, default='', help='interpolation used to resize images')
    flag(group, '-b', '--batch-size', type=int, default=batch_size, help='batch size on each device')
    flag(group, '-j', '--workers', type=int, default=default_workers(), help='data loader processes')


def add_crop_mode(group: Any) -> None:
    """Add the flag apart from those of images: timm's validate.py has it and its train.py has not."""
    text = "how the evaluated image is resized (default: the model's own)"
    flag(group, '--crop-mode', choices=('squash', 'border', 'center'), help=text)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Flags of the model and of where and how it computes."""
    group = parser.add_argument_group('model')
    flag(group, '--model', '-m', type=str, default='resnet50', help='the model')
    flag(group, '--pretrained', action='store_true', help='start from the published weights')
    flag(group, '--num-classes', type=int, help='number of classes; that of the folder if not given')
    flag(group, '--gp', type=str, metavar='POOL', help='global pooling: avg, max, avgmax, catavgmax')
    flag(group, '--model-kwargs', nargs='*', default={}, action=KeyValues, metavar='K=V', help='more model arguments')
    group = parser.add_argument_group('device')
    flag(group, '--device', type=str, default='cuda', help='device to use')
    flag(group, '--amp', action='store_true', help='automatic mixed precision')
    flag(group, '--amp-dtype', type=str, default='float16', choices=('float16', 'bfloat16'), help='precision of --amp')
    flag(group, '--channels-last', action='store_true', help='channels-last memory layout')
    flag(group, '--torchcompile', nargs='?', const='inductor', metavar='BACKEND', help='torch.compile')
    flag(group, '--seed', type=int, default=42, help='random seed')


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Flags that only training has."""
    group = parser.add_argument_group('splits and checkpoints')
    flag(group, '--train-split', type=str, default='train', help='split to train on')
    flag(group, '--val-split', type=str, default='validation', help="split to evaluate; '' for none")
    flag(group, '--initial-checkpoint', default='', metavar='FILE', help='weights to start from')
    flag(group, '--resume', default='', metavar='FILE', help='checkpoint to resume from; auto: that of --experiment')
    flag(group, '--no-resume-opt', action='store_true', help='resume without the optimizer')
    flag(group, '--output', default='', metavar='DIR', help='where runs are kept: ./output/train if not given')
    flag(group, '--experiment', default='', type=str, help="name of the run's folder: time, model, size if not given")
    flag(group, '--checkpoint-hist', type=int, default=10, help='checkpoints to keep')
    flag(group, '--eval-metric', type=str, default='top1', help='metric of the best checkpoint: top1, top5, loss')
    flag(group, '--log-interval', type=int, default=50, help='updates between log lines')
    flag(group, '--log-wandb', action='store_true', help='log each epoch to Weights & Biases')
    flag(group, '--wandb-project', type=str, help='its project')
    flag(group, '--wandb-tags', type=str, nargs='+', default=[], help='tags of the run there')
    flag(group, '--wandb-resume-id', default='', metavar='ID', help='the run there that is resumed')
    flag(group, '--val-interval', type=int, default=1, help='epochs between evaluations, and checkpoints')
    flag(group, '-vb', '--validation-batch-size', type=int, help='batch size of the evaluation')

    group = parser.add_argument_group('optimizer')
    flag(group, '--opt', type=str, default='sgd', help="one of timm's optimizers")
    flag(group, '--opt-eps', type=float, help='its epsilon')
    flag(group, '--opt-betas', type=float, nargs='+', metavar='X', help='its betas')
    flag(group, '--opt-kwargs', nargs='*', default={}, action=KeyValues, metavar='K=V', help='more arguments of it')
    flag(group, '--momentum', type=float, default=0.9, help='momentum')
    flag(group, '--weight-decay', type=float, default=2e-5, help='weight decay')
    flag(group, '--layer-decay', type=float, help='layer-wise decay of the learning rate')
    flag(group, '--clip-grad', type=float, help='gradient clipping threshold; no clipping if not given')
    flag(group, '--clip-mode', type=str, default='norm', help='how gradients are clipped: norm, value, agc')
    flag(group, '--grad-accum-steps', type=int, default=1, help='batches accumulated for each update')
    flag(group, '--grad-checkpointing', action='store_true', help='recompute activations to save memory')

    group = parser.add_argument_group('learning rate')
    flag(group, '--lr', type=float, help='learning rate; from --lr-base if not given')
    flag(group, '--lr-base', type=float, default=0.1, help='learning rate for an effective batch of --lr-base-size')
    flag(group, '--lr-base-size', type=int, default=256, help='effective batch size that --lr-base is for')
    flag(group, '--lr-base-scale', type=str, default='', help='linear or sqrt; by the optimizer if not given')
    flag(group, '--sched', type=str, default='cosine', help="one of timm's schedules")
    flag(group, '--sched-on-updates', action='store_true', help='step the schedule by updates, not by epochs')
    flag(group, '--epochs', type=int, default=300, help='epochs')
    flag(group, '--start-epoch', type=int, help='first epoch; that of the checkpoint if not given')
    flag(group, '--warmup-epochs', type=int, default=5, help='epochs of warm-up')
    flag(group, '--warmup-lr', type=float, default=1e-5, help='learning rate at the start of the warm-up')
    flag(group, '--warmup-prefix', action='store_true', help='add the warm-up epochs to --epochs')
    flag(group, '--cooldown-epochs', type=int, default=0, help='epochs at the lowest learning rate, after the others')
    flag(group, '--min-lr', type=float, default=0.0, help='lowest learning rate')
    flag(group, '--decay-epochs', type=float, default=90, help='epochs between decay steps')
    flag(group, '--decay-milestones', type=int, nargs='+', default=[90, 180, 270], metavar='N', help='decay steps')
    flag(group, '--decay-rate', '--dr', type=float, default=0.1, help='factor of each decay step')

    group = parser.add_argument_group('augmentation and regularisation')
    flag(group, '--no-aug', action='store_true', help='no augmentation at all')
    flag(group, '--scale', type=float, nargs='+', default=[0.08, 1.0], metavar='X', help='area of the crop')
    flag(group, '--ratio', type=float, nargs='+', default=[3 / 4, 4 / 3], metavar='X', help='its aspect ratio')
    flag(group, '--hflip', type=float, default=0.5, help='probability of a horizontal flip')
    flag(group, '--vflip', type=float, default=0.0, help='probability of a vertical flip')
    flag(group, '--color-jitter', type=float, default=0.4, help='strength of the color jitter')
    flag(group, '--aa', type=str, metavar='POLICY', help='AutoAugment, RandAugment or AugMix, as timm writes them')
    flag(group, '--reprob', type=float, default=0.0, help='probability of random erasing')
    flag(group, '--remode', type=str, default='pixel', help='fill of erased areas: pixel, rand, const')
    flag(group, '--recount', type=int, default=1, help='number of erased areas')
    flag(group, '--mixup', type=float, default=0.0, help='alpha of mixup; 0 for none')
    flag(group, '--cutmix', type=float, default=0.0, help='alpha of CutMix; 0 for none')
    flag(group, '--mixup-prob', type=float, default=1.0, help='probability that a batch is mixed')
    flag(group, '--mixup-switch-prob', type=float, default=0.5, help='probability of CutMix where both are on')
    flag(group, '--mixup-mode', type=str, default='batch', help='mix per batch, pair or elem')
    flag(group, '--mixup-off-epoch', type=int, default=0, help='epoch from which both are off; 0 for never')
    flag(group, '--smoothing', type=float, default=0.1, help='label smoothing')
    flag(group, '--train-interpolation', type=str, default='random', help='interpolation in training')
    flag(group, '--drop', type=float, default=0.0, help='dropout before the classifier')
    flag(group, '--drop-path', type=float, help='stochastic depth')
    flag(group, '--drop-block', type=float, help='drop-block')

    group = parser.add_argument_group('distributed training and averaging')
    flag(group, '--sync-bn', action='store_true', help='BatchNorm over all devices')
    flag(group, '--dist-bn', type=str, default='reduce', help="its statistics after an epoch: broadcast, reduce or ''")
    flag(group, '--model-ema', action='store_true', help='also evaluate a moving average of the weights')
    flag(group, '--model-ema-decay', type=float, default=0.9998, help='its decay')
    flag(group, '--model-ema-warmup', action='store_true', help='warm up the decay')


def add_our_options(parser: argparse.ArgumentParser) -> None:
    """Add our flags to the parser of a training script, timm's or the bundled one."""
    from ..loss.factory import BASES  # here, since other commands share flags of this file and start without torch

    group = parser.add_argument_group('timm-vipriors')
    text = f"training loss in place of the script's own: {', '.join(BASES)}, each also with +center, +tsl, +center+tsl"
    flag(group, '--criterion', metavar='SPEC', help=text)
    text = 'its arguments, such as gamma=2 xent_weight=0.1'
    flag(group, '--criterion-kwargs', nargs='+', default={}, action=KeyValues, metavar='K=V', help=text)
    text = """tree of the classes for +tsl, as `timm-vipriors hierarchy` writes it; without one, --criterion-kwargs
    tree_start_epoch=M tree_update_every=N grows one from the model"""
    flag(group, '--hierarchy', default='', metavar='FILE', help=text)
    text = 'balanced: each class counts the same in the loss, however many training images it has'
    flag(group, '--class-weights', choices=('balanced',), help=text)
    flag(group, '--lsb-swap', type=int, default=0, metavar='K', help='swap the K lowest bits of training images')
    flag(group, '--lsb-prob', type=float, default=DEFAULT_PROB, metavar='P', help='probability of a swap')
    add_crop_mode(group)
    text = 'decode each image once for all workers and ranks: in ram for this run, on disk for later ones too'
    flag(group, '--cache', choices=('ram', 'disk', 'off'), default='off', help=text)
    text = 'shrink cached training images to what the random crop can need: faster, but not exactly the same crops'
    flag(group, '--cache-shrink', action='store_true', help=text)
    text = "log each epoch to TensorBoard, into the run's folder (pip install 'timm-vipriors[logging]')"
    flag(group, '--log-tensorboard', action='store_true', help=text)
    flag(group, '--check-images', action='store_true', help='decode every image before the start, and list broken ones')
    text = 'no automatic mixed precision: cancels an earlier --amp, such as that of a recipe'
    flag(group, '--no-amp', dest='amp', action='store_false', default=argparse.SUPPRESS, help=text)  # --amp has one
    text = 'when the loss or a gradient is NaN or infinite: stop, or skip and count the update'
    flag(group, '--nonfinite', choices=('stop', 'skip'), default='stop', help=text)


def describe(parser: argparse.ArgumentParser, name: str) -> None:
    """Give the parser of a script our program name, description, examples and way of printing help."""
    parser.prog = f'timm-vipriors {name}'
    parser.usage = '%(prog)s DIR --model NAME [flags]\n       %(prog)s --help   (lists the flags)'
    parser.description = _DESCRIPTIONS[name]
    parser.epilog = make_epilog(_EXAMPLES[name], _NOTES)
    parser.formatter_class = HelpFormatter
