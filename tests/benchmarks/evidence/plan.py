"""The questions of PROTOCOL.md as lists of trainings, in the order in which they are run."""

from collections.abc import Iterator
from itertools import product

from .routing import ROUTINGS
from .settings import Settings

NETS = ('resnext', 'd', 'sk_noaa', 'sk', 'dsk')
TUNE = dict(part='tune', seed=0)
CHARACTERS = dict(data='characters', batch=32, scale=0.5)


def zero_init() -> Iterator[Settings]:
    """(a) The start value of the last BatchNorm, for each network of Table 1 and for DSK with its losses."""
    for data, net, zero in product(('fashion', 'digits'), NETS, (0, 1)):
        yield Settings(data=data, data_seed=100, net=net, zero_init=zero, **ZERO_INIT)
    for loss, zero in product(('pcl', 'pcl+center'), (0, 1)):
        yield Settings(data='fashion', data_seed=100, net='dsk', loss=loss, zero_init=zero, **ZERO_INIT)


ZERO_INIT = dict(depth=2, epochs=120, lr=0.05, wd=1e-3, **TUNE)


def zero_init_more() -> Iterator[Settings]:
    """(a) again on other training sets, and for three times as long."""
    for data_seed, data, net, zero in product((101, 102), ('fashion', 'digits'), NETS, (0, 1)):
        yield Settings(data=data, data_seed=data_seed, net=net, zero_init=zero, **ZERO_INIT)
    for data, net, zero in product(('fashion', 'digits'), NETS, (0, 1)):
        yield Settings(data=data, data_seed=100, net=net, zero_init=zero, **ZERO_INIT | dict(epochs=360))


def lr_wd() -> Iterator[Settings]:
    """(b) Learning rate and weight decay on fashion, the last BatchNorms starting at 0."""
    for net, lr, wd in product(('resnext', 'sk', 'dsk'), (0.02, 0.05, 0.1), (1e-4, 1e-3, 5e-3)):
        yield Settings(data='fashion', data_seed=100, net=net, zero_init=1, lr=lr, wd=wd, epochs=100, **TUNE)


def small() -> Iterator[Settings]:
    """(e) What small.sh should start: networks and settings on characters, the opponent first."""
    base = dict(data_seed=100, epochs=60, **CHARACTERS, **TUNE)
    for lr, wd in ((1e-3, 0.05), (3e-3, 0.05), (1e-3, 0.5)):
        yield Settings(net='resnet10t', optimizer='adamw', lr=lr, wd=wd, **base)
    for net in ('sk', 'resnext', 'dsk'):
        yield Settings(net=net, zero_init=1, lr=0.05, wd=1e-3, **base)
    yield Settings(net='resnet10t', lr=0.05, wd=1e-3, **base)
    for lr, wd in ((0.05, 1e-4), (0.05, 3e-3), (0.2, 1e-3), (0.1, 3e-3)):
        yield Settings(net='sk', zero_init=1, lr=lr, wd=wd, **base)


def routing() -> Iterator[Settings]:
    """(c) Ways to draw λ, against SK, on fashion."""
    for data_seed in (100, 101, 102):
        base = dict(data='fashion', data_seed=data_seed, zero_init=1, lr=0.05, wd=1e-3, epochs=100, **TUNE)
        yield Settings(net='sk', **base)
        for routing in ('', *ROUTINGS):
            yield Settings(net='dsk', routing=routing, **base)


QUESTIONS = {
    'zero-init': zero_init,
    'small': small,
    'lr-wd': lr_wd,
    'routing': routing,
    'zero-init-more': zero_init_more,
}

# What a row is compared with in the summary: the row of the same other settings that has these values.
BASES = {
    'zero-init': dict(zero_init=0),
    'zero-init-more': dict(zero_init=0),
    'lr-wd': dict(lr=0.05, wd=1e-3),
    'routing': dict(net='sk', routing=''),
    'small': dict(net='resnet10t', optimizer='adamw', lr=1e-3, wd=0.05, zero_init=-1),
}
