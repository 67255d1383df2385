"""The command of a training by the bundled script, and its environment."""

import os
import sys

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != 'TIMM_SCRIPTS'}


def training(data: object, *flags: object, launcher: tuple[str, ...] = ()) -> list[str]:
    """The command line that trains on a folder, under a launcher if there is one."""
    return [sys.executable, *launcher, '-m', 'timm_vipriors', 'train', str(data), *map(str, flags)]
