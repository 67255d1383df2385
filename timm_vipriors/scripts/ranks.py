"""The place of this process in a distributed run, known before a process group is there."""

import os


def is_primary() -> bool:
    """Whether this process is the one that talks."""
    return rank() == 0


def rank() -> int:
    """The number of this process, 0 without a launcher."""
    return int(os.environ.get('RANK', '0'))


def world_size() -> int:
    """The number of processes, 1 without a launcher."""
    return int(os.environ.get('WORLD_SIZE', '1'))
