"""The questions of PROTOCOL.md as lists of trainings, in the order in which they are run."""

from collections.abc import Iterator
from itertools import product

from .settings import Settings

NETS = ('resnext', 'd', 'sk_noaa', 'sk', 'dsk')
BASE = dict(part='tune', lr=0.05, wd=1e-3)


def zero_init() -> Iterator[Settings]:
    """(a) The start value of the last BatchNorm, for each network of Table 1 and for DSK with its losses."""
    rows = [(net, 'ce') for net in NETS] + [('dsk', 'pcl'), ('dsk', 'pcl+center')]
    for epochs, data_seed, data in product((120, 360), (100, 101, 102), ('fashion', 'digits')):
        for (net, loss), zero in product(rows, (0, 1)):
            if loss == 'ce' or data_seed == 100:
                yield Settings(
                    data=data,
                    data_seed=data_seed,
                    seed=0,
                    net=net,
                    loss=loss,
                    epochs=epochs,
                    depth=2,
                    zero_init=zero,
                    **BASE,
                )


QUESTIONS = {'zero-init': zero_init}
