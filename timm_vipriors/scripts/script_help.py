"""What the help of `timm-vipriors train` and `validate` says around the script's own flags."""

import argparse

from ..help_formatter import HelpFormatter, make_epilog

_DESCRIPTIONS = {
    'train': "Train a model: timm's train.py, or where TIMM_SCRIPTS is not set the bundled one, which has a selection "
    'of its flags. Those of the group timm-vipriors are ours.',
    'validate': "Measure a model on a split: timm's validate.py, or where TIMM_SCRIPTS is not set the bundled one, "
    'which has a selection of its flags.',
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
is the path of a checkout of pytorch-image-models, of the version of the installed timm."""


def describe(parser: argparse.ArgumentParser, name: str) -> None:
    """Give a script's parser our name, texts and way of printing help.

    Args:
        parser: timm's own, or that of the bundled script.
        name: 'train' or 'validate'.
    """
    parser.prog = f'timm-vipriors {name}'
    parser.usage = '%(prog)s DIR --model NAME [flags]\n       %(prog)s --help   (lists the flags)'
    parser.description = _DESCRIPTIONS[name]
    parser.epilog = make_epilog(_EXAMPLES[name], _NOTES)
    parser.formatter_class = HelpFormatter
