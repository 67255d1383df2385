"""Runs a training or validation script, timm's own or the bundled one, with our parts plugged in (see `Plugin`)."""

import argparse
import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

import timm
import torch
import yaml

from ..data.datasets import CorruptImageError
from ..environment import checkout_warning, find_in_checkout
from ..errors import UserError, user_errors
from ..files import default_workers, first_line, first_names
from .checks import check_run, explain_checkpoint
from .loss_spec import LossSpec
from .options import ABSENT, add_our_options, describe
from .plugin import Plugin
from .ranks import is_primary
from .saving import LAST, Saver, find_last
from .swap import make_swap

NEEDED = ('parser', 'main', 'create_dataset', 'create_loader', 'create_model')  # of a script


def run(name: str, argv: Sequence[str]) -> int:
    """Run 'train' or 'validate' with a command line, and return the exit code; a UserError says what is wrong."""
    script = prepare_script(name)
    training = name == 'train'
    with mock.patch.object(sys, 'argv', [script.parser.prog, *argv]):
        with user_errors():
            args = parse_args(script)
            resuming = training and args.resume == 'auto'
            if resuming:
                args.resume = find_last(args)
            loss = LossSpec.from_flags(args) if training else None
            swap = make_swap(args) if training else None
            class_names, class_counts = check_run(name, args, given_arguments(script.parser, argv), resuming)
        plugin = Plugin(args, loss, swap, class_names, class_counts, resuming)
        checked = mock.patch.object(script.parser, 'parse_args', return_value=argparse.Namespace(**vars(args)))
        with checked, plugin.installed(script), explained_errors(args), _interrupts() as interrupted:
            script.main()
    if plugin.saver is not None:
        report_end(plugin.saver, args.eval_metric, bool(interrupted))
    return 128 + signal.SIGINT if interrupted else 0


def prepare_script(name: str) -> ModuleType:
    """The script's module, with our flags and help in its parser."""
    script = load_script(find_script(name))
    describe(script.parser, name)
    script.parser.set_defaults(device=default_device(), workers=default_workers())
    if name == 'train':
        add_our_options(script.parser)
    return script


def find_script(name: str) -> Path:
    """The script: that of the checkout in `$TIMM_SCRIPTS`, or the bundled one where the variable is not set."""
    path = find_in_checkout(name)
    if path is None:
        return Path(__file__).with_name(f'{name}.py')
    if (warning := checkout_warning(timm.__version__)) and is_primary():
        print(f'warning: {warning}', file=sys.stderr)
    return path


def load_script(path: Path) -> ModuleType:
    """Load a script as a module of its own, without running its `main()`."""
    spec = importlib.util.spec_from_file_location(f'{path.stem}_script', path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # worker processes look classes up by module name
    spec.loader.exec_module(script)
    missing = [attr for attr in NEEDED if not hasattr(script, attr)]
    if missing:
        raise UserError(f'{path} is not a script of timm that we know: it has no {", ".join(missing)}')
    return script


def default_device() -> str:
    """The best device there is: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return 'cuda'
    return 'mps' if torch.backends.mps.is_available() else 'cpu'


def parse_args(script: ModuleType) -> argparse.Namespace:
    """The script's arguments, as it parses them itself; names in a --config that are no flags are warned of."""
    try:
        args = script._parse_args()[0] if hasattr(script, '_parse_args') else script.parser.parse_args()
    except (OSError, TypeError, ValueError, yaml.YAMLError) as e:
        raise UserError(f'--config: {first_line(e)}') from e
    known = {action.dest for action in script.parser._actions}
    unknown = {name for name, value in vars(args).items() if name not in known and value != ABSENT.get(name, args)}
    if unknown and is_primary():
        print(f'warning: --config has names that are no flags: {first_names(sorted(unknown))}', file=sys.stderr)
    return argparse.Namespace(**{**ABSENT, **vars(args)})


def given_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> set[str]:
    """The names of the arguments whose flags are on a command line, abbreviated or not."""
    default = object()
    start = argparse.Namespace(**{action.dest: default for action in parser._actions})
    return {name for name, value in vars(parser.parse_known_args(argv, start)[0]).items() if value is not default}


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Yield a list that is not empty after Ctrl-C: timm's script ends its loop then as if all were done."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def explained_errors(args: argparse.Namespace) -> Iterator[None]:
    """Turn what a user can cause inside the script into one sentence."""
    try:
        yield
    except CorruptImageError as e:
        traceback.clear_frames(e.__traceback__)  # which keep the loader, whose processes end with it
        raise UserError(e.sentence) from e
    except OSError:  # such as a full disk
        with user_errors():
            raise
    except Exception as e:
        sentence = explain_checkpoint(args, e)
        if sentence is None and 'Padding size should be less than' in str(e):
            sentence = f'the images are too small for {args.model}: its anti-aliasing needs an --img-size of 32 or more'
        if sentence is None:
            raise
        raise UserError(sentence) from e


def report_end(saver: Saver, metric: str, interrupted: bool) -> None:
    """The last lines of a run: the best result and where it is, or how to resume."""
    folder = saver.checkpoint_dir
    if interrupted:
        last = os.path.join(folder, LAST)
        if os.path.exists(last):
            print(f'Interrupted. To resume, repeat the command with --resume {last}')
        else:
            print('Interrupted before the first checkpoint: nothing was saved')
    elif saver.best_epoch is not None:
        unit = ' %' if metric.startswith('top') else ''
        name = {'top1': 'top-1', 'top5': 'top-5'}.get(metric, metric)
        print(f'Best {name}: {saver.best_metric:.2f}{unit} in epoch {saver.best_epoch}')
        print(f'Checkpoint: {os.path.join(folder, "model_best.pth.tar")}')
        print(f'Next: timm-vipriors report {folder} -o report.html')
