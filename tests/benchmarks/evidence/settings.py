"""One training, described completely: what a row of the CSV files says about it, and what resuming compares."""

from dataclasses import dataclass, fields
from typing import get_type_hints


@dataclass(frozen=True)
class Settings:
    """Everything that the result of a training depends on, the seeds included."""

    data: str  # digits, fashion or characters
    part: str  # tune: validated on held-out training images; final: tested
    data_seed: int  # which random training set
    seed: int  # initial weights, batches, augmentation
    net: str  # a row of networks.NETWORKS
    epochs: int
    lr: float = 0.1
    wd: float = 1e-3
    optimizer: str = 'sgd'
    batch: int = 25
    per_class: int = 0  # 0 for the default of the data
    size: int = 32
    depth: int = 1  # blocks of each of the four stages
    width: float = 1.0
    zero_init: int = -1  # start value of the last BatchNorm of a block: 1 is zero, 0 is one, -1 the network's default
    loss: str = 'ce'
    routing: str = ''  # a variant of DualBranch in routing.py; '' is the package's
    scale: float = 0.5  # the smallest share of the image in random resized crop
    cutmix: float = 0.0  # probability
    smoothing: float = 0.0
    dropout: float = 0.0
    lsb: float = 0.0  # probability of an LSB swap
    ema: float = 0.0  # decay, with timm's warm-up; 0 is without
    pool: str = 'avg'
    harmonic: int = 0  # 1: 3×3 convolutions as weighted sums of cosines

    def key(self) -> tuple[str, ...]:
        return tuple(str(getattr(self, field.name)) for field in fields(self))

    @classmethod
    def from_row(cls, row: dict[str, str]) -> 'Settings':
        types = get_type_hints(cls)
        return cls(**{field.name: types[field.name](row[field.name]) for field in fields(cls)})


NAMES = tuple(field.name for field in fields(Settings))
RESULTS = ('top1', 'test_ce', 'top1_reestimated', 'train_loss', 'curve', 'seconds')
