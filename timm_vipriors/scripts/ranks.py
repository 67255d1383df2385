"""The place of this process in a distributed run, by the variables that torchrun and SLURM set, as timm reads them."""

from timm.utils.distributed import is_distributed_env, world_info_from_env


def rank() -> int:
    """The number of this process, 0 without a launcher."""
    return world_info_from_env()[1] if is_distributed_env() else 0


def world_size() -> int:
    """The number of processes, 1 without a launcher."""
    return world_info_from_env()[2] if is_distributed_env() else 1


def is_primary() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0
