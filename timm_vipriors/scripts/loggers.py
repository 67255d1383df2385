"""Logs a run at TensorBoard and Weights & Biases, beside its summary.csv."""

import argparse
import os
from importlib.util import find_spec
from typing import Any

from ..errors import UserError
from .flag_checks import flag_name


def check_loggers(args: argparse.Namespace) -> None:
    """Raise if a run is to be logged by a package that is not installed."""
    for flag in ('log_wandb', 'log_tensorboard'):
        package = flag.removeprefix('log_')
        spec = find_spec(package)
        # a folder ./wandb, which an earlier run has left, is found as a package without a file
        if getattr(args, flag) and (spec is None or spec.origin is None):
            raise UserError(f"{flag_name(flag)} needs {package}: pip install 'timm-vipriors[logging]'")


class Loggers:
    """What --log-wandb and --log-tensorboard of a run ask for, started with its first epoch."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self._tensorboard: Any = None

    def start_wandb(self, folder: str) -> bool:
        """Start a run at Weights & Biases unless timm's own script has; return whether timm is to log to it."""
        if not self.args.log_wandb:
            return False
        import wandb

        if wandb.run is None:
            id = self.args.wandb_resume_id or None
            resume = dict(id=id, resume='must' if id else None)
            about = dict(project=self.args.wandb_project, name=os.path.basename(folder), tags=self.args.wandb_tags)
            wandb.init(config=vars(self.args), **about, **resume)
        return True

    def log_tensorboard(
        self, folder: str, epoch: int, metrics: dict[str, dict[str, float]], lr: float | None = None
    ) -> None:
        """Log the figures of an epoch, by their group and name; a resumed run replaces the epochs that come again."""
        if not self.args.log_tensorboard:
            return
        if self._tensorboard is None:
            from torch.utils.tensorboard import SummaryWriter

            self._tensorboard = SummaryWriter(folder, purge_step=epoch)
        values = {f'{group}/{name}': value for group, found in metrics.items() for name, value in found.items()}
        for name, value in (values if lr is None else values | {'lr': lr}).items():
            self._tensorboard.add_scalar(name, value, epoch)
        self._tensorboard.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._tensorboard is not None:
            self._tensorboard.close()
