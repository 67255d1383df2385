"""The questions of PROTOCOL.md as lists of trainings, in the order in which they are run."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from .routing import ROUTINGS
from .settings import Settings

NETS = ('resnext', 'd', 'sk_noaa', 'sk', 'dsk')
TUNE = dict(part='tune', seed=0)
CHARACTERS = dict(data='characters', batch=32, **TUNE)


def zero_init() -> Iterator[Settings]:
    """(a) The start value of the last BatchNorm, for each network of Table 1."""
    for data, net, zero in product(('fashion', 'digits'), NETS, (0, 1)):
        yield Settings(data=data, data_seed=100, net=net, zero_init=zero, **ZERO_INIT)


ZERO_INIT = dict(depth=2, epochs=120, lr=0.05, wd=1e-3, **TUNE)


def zero_init_more() -> Iterator[Settings]:
    """(a) again with DSK's losses, on other training sets, and for three times as long."""
    for loss, zero in product(('pcl', 'pcl+center'), (0, 1)):
        yield Settings(data='fashion', data_seed=100, net='dsk', loss=loss, zero_init=zero, **ZERO_INIT)
    for data_seed, data, net, zero in product((101, 102), ('fashion', 'digits'), NETS, (0, 1)):
        yield Settings(data=data, data_seed=data_seed, net=net, zero_init=zero, **ZERO_INIT)
    for data, net, zero in product(('fashion', 'digits'), NETS, (0, 1)):
        yield Settings(data=data, data_seed=100, net=net, zero_init=zero, **ZERO_INIT | dict(epochs=360))


def lr_wd() -> Iterator[Settings]:
    """(b) Learning rate and weight decay on fashion, the last BatchNorms starting at 0."""
    for lr, net, wd in product((0.05, 0.1, 0.02), ('resnext', 'sk', 'dsk'), (1e-4, 1e-3, 5e-3)):
        yield Settings(data='fashion', data_seed=100, net=net, zero_init=1, lr=lr, wd=wd, epochs=100, **TUNE)


def small() -> Iterator[Settings]:
    """(e) What small.sh should start: networks and settings on characters."""
    base = dict(data_seed=100, epochs=60, **CHARACTERS)
    for net in ('sk', 'resnext'):
        yield Settings(net=net, zero_init=1, lr=0.05, wd=1e-3, **base)
    yield Settings(net='resnet10t', optimizer='adamw', lr=1e-3, wd=0.05, **base)
    yield Settings(net='dsk', zero_init=1, lr=0.05, wd=1e-3, **base)
    for lr, wd in ((0.05, 3e-3), (0.05, 1e-4), (0.2, 1e-3)):
        yield Settings(net='sk', zero_init=1, lr=lr, wd=wd, **base)


def small_opponents() -> Iterator[Settings]:
    """(e) The opponent, tuned too."""
    base = dict(data_seed=100, epochs=60, net='resnet10t', **CHARACTERS)
    yield Settings(lr=0.05, wd=1e-3, **base)
    for lr, wd in ((3e-3, 0.05), (1e-3, 0.5)):
        yield Settings(optimizer='adamw', lr=lr, wd=wd, **base)


def routing() -> Iterator[Settings]:
    """(c) Ways to draw λ, against SK, on fashion."""
    for data_seed in (100, 101, 102):
        base = dict(data='fashion', data_seed=data_seed, zero_init=1, lr=0.05, wd=1e-3, epochs=100, **TUNE)
        yield Settings(net='sk', **base)
        for routing in ('', *ROUTINGS):
            yield Settings(net='dsk', routing=routing, **base)


ADAMW = dict(optimizer='adamw', lr=2e-3, wd=0.1)
# One part at a time on top of the base; a learning rate and weight decay of its own only where the optimizer differs.
PARTS: tuple[dict[str, object], ...] = (
    dict(cutmix=0.5),
    dict(ema=0.99),
    dict(loss='pcl'),
    dict(loss='pcl+center'),
    dict(smoothing=0.1),
    dict(harmonic=1),
    dict(loss='focal-cosine'),
    dict(dropout=0.2),
    dict(pool='catavgmax'),
    dict(lsb=0.5),
    ADAMW,
)
TREES = (dict(loss='ce+tsl'), dict(loss='ce+tsl:soft'))


def parts() -> Iterator[Settings]:
    """(d) What each part adds to SK, on fashion's test images."""
    for data_seed in range(5):
        base = Settings('fashion', 'final', data_seed, 0, 'sk', epochs=100, zero_init=1, **BEST)
        yield base
        for part in PARTS:
            yield replace(base, **part)


def parts_characters() -> Iterator[Settings]:
    """(d) What trees, and the parts that look best on fashion, add to SK on characters."""
    for data_seed in range(5):
        base = Settings('characters', 'final', data_seed, 0, 'sk', epochs=60, zero_init=1, batch=32, **BEST)
        yield base
        for part in (dict(loss='pcl+center', ema=0.99, cutmix=0.5), dict(loss='focal-cosine'), dict(ema=0.99), *TREES):
            yield replace(base, **part)


# (d) left these above the base without an interval that settles it; together they may.
COMBINATIONS: tuple[dict[str, object], ...] = (
    dict(ema=0.99),
    dict(loss='focal-cosine', ema=0.99),
    dict(loss='pcl+center', ema=0.99),
    dict(loss='focal-cosine', ema=0.99, cutmix=0.5),
    dict(loss='pcl+center', ema=0.99, cutmix=0.5),
    dict(loss='pcl+center', ema=0.99, **ADAMW),
)


def combinations() -> Iterator[Settings]:
    """(f) Several parts at once on SK, on fashion's validation images."""
    for data_seed in range(100, 104):
        base = Settings('fashion', 'tune', data_seed, 0, 'sk', epochs=100, zero_init=1, **BEST)
        yield base
        for parts in COMBINATIONS:
            yield replace(base, **parts)


def winner() -> Iterator[Settings]:
    """(f) The best combination against cross-entropy with either optimizer, on the test images of three data sets."""
    for data, seeds, epochs in (('fashion', 10, 100), ('digits', 5, 100), ('characters', 3, 60)):
        for data_seed in range(seeds):
            batch = 32 if data == 'characters' else 25
            base = Settings(data, 'final', data_seed, 0, 'sk', epochs=epochs, zero_init=1, batch=batch, **BEST)
            yield base
            yield replace(base, **ADAMW)
            yield replace(base, loss='pcl+center', ema=0.99, **ADAMW)
            yield replace(base, loss='pcl+center', ema=0.99)


def table_1() -> Iterator[Settings]:
    """The seven rows of Table 1 at two lengths, on fashion's test images."""
    rows = [(net, 'ce') for net in NETS] + [('dsk', 'pcl'), ('dsk', 'pcl+center')]
    for epochs, data_seed, (net, loss) in product((100, 360), range(5), rows):
        yield Settings('fashion', 'final', data_seed, 0, net, epochs=epochs, loss=loss, zero_init=1, **BEST)


def table_1_long() -> Iterator[Settings]:
    """SK and DSK for 1,000 epochs, on fashion's test images."""
    for data_seed, net in product(range(5), ('sk', 'dsk')):
        yield Settings('fashion', 'final', data_seed, 0, net, epochs=1000, zero_init=1, **BEST)


BEST = dict(lr=0.05, wd=5e-3)  # what question (b) chose

QUESTIONS = {
    'zero-init': zero_init,
    'lr-wd': lr_wd,
    'routing': routing,
    'table-1': table_1,
    'parts': parts,
    'parts-characters': parts_characters,
    'table-1-long': table_1_long,
    'combinations': combinations,
    'winner': winner,
    'small': small,
    'small-opponents': small_opponents,
    'zero-init-more': zero_init_more,
}

# What a row is compared with in the summary: the row of the same other settings that has these values.
BASES = {
    'zero-init': dict(zero_init=0),
    'zero-init-more': dict(zero_init=0),
    'lr-wd': dict(lr=0.05, wd=1e-3),
    'routing': dict(net='sk', routing=''),
    'table-1': dict(net='sk', loss='ce'),
    'table-1-long': dict(net='sk'),
    'parts': dict.fromkeys(('cutmix', 'ema', 'smoothing', 'dropout', 'lsb'), 0.0)
    | dict(loss='ce', harmonic=0, pool='avg', optimizer='sgd', **BEST),
    'small': dict(net='resnet10t', optimizer='adamw', lr=1e-3, wd=0.05, zero_init=-1),
}
BASES['parts-characters'] = BASES['combinations'] = BASES['winner'] = BASES['parts']
