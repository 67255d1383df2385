"""Choose model and settings for a data folder, and train.

Model, image size, batch, epochs and augmentation follow from the images of DATA/train and the speed of this machine;
each is given with its reason. Further flags are those of `timm-vipriors train`; they come last and win.
"""

import argparse
import shlex

from .common import add_parser

_EXAMPLES = [
    'timm-vipriors suggest DATA',
    'timm-vipriors suggest DATA --fast --run',
    'timm-vipriors suggest DATA --minutes 60 --run --experiment mine --seed 1',
]


def add(commands: argparse._SubParsersAction) -> None:
    suggest = add_parser(commands, 'suggest', run, __doc__, _EXAMPLES)
    suggest.add_argument('data', metavar='DATA', help='a folder with train and validation')
    text = 'time limit of the run: a second per image, between 3 and 25 minutes, if not given'
    suggest.add_argument('--minutes', type=_minutes, metavar='M', help=text)
    suggest.add_argument('--fast', action='store_true', help='a first look: a fifth of the time')
    suggest.add_argument('--device', metavar='NAME', help='where to train: cuda where there is one if not given')
    suggest.add_argument('--run', dest='start', action='store_true', help='train, instead of printing the command')
    suggest.set_defaults(other_flags=[])


def _minutes(text: str) -> float:
    if not 0 < (minutes := float(text)) < 1e6:
        raise argparse.ArgumentTypeError(f'expected a number of minutes above 0, got {text}')
    return minutes


def run(args: argparse.Namespace) -> int:
    from ..recipes.small import Facts, choose
    from ..scripts.flag_checks import check_device

    if args.device:
        check_device(args.device)
    facts = Facts.of(args.data)
    minutes = args.minutes or facts.minutes
    choices = choose(facts, minutes / 5 if args.fast else minutes, args.device)
    kind = 'gray' if facts.gray else 'color'
    print(f'{args.data}: {facts.images:,} {kind} images of {facts.classes:,} classes, {facts.fewest:,} or more of each')
    for choice in choices:
        print(f'  {shlex.join(choice.flags)}\n      {choice.why}')
    flags = [args.data, *(flag for choice in choices for flag in choice.flags), *args.other_flags]
    if not args.start:
        print(f'Next: {shlex.join(["timm-vipriors", "train", *flags])}')
        return 0
    from ..scripts.runner import run as run_script

    return run_script('train', flags)
