"""Views are new whenever they are asked for, the same for any number of workers, and those of a resumed run."""

import copy
import pickle
import random

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from timm.data import AugMixDataset, FastCollateMixup, create_dataset, create_loader
from torch.utils.data import IterableDataset

from timm_vipriors.data import StrictImageDataset
from timm_vipriors.data.seeding import seed_loader

IMAGES = 12
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Noise of two classes; the first pixels tell the images apart."""
    folder = tmp_path_factory.mktemp('noise')
    for i in range(IMAGES):
        (folder / 'train' / str(i % 2)).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'train' / str(i % 2) / f'{i:02}.png')
    return folder


@pytest.fixture
def two_ranks(monkeypatch):
    """Have torch's and timm's distributed samplers believe in two processes."""
    ranks = [0]
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda *args: 2)
    monkeypatch.setattr(torch.distributed, 'get_rank', lambda *args: ranks[0])
    return ranks


def strict(root):
    return StrictImageDataset.of(create_dataset('', root=str(root), split='train'))


def make(root, kind='plain', workers=0, seed=5, rank=0):
    """A loader of timm's that is seeded."""
    dataset = strict(root)
    kwargs = dict(is_training=True, num_workers=workers, device=CPU, auto_augment='rand-m9-mstd0.5', batch_size=2)
    if kind == 'augmix':
        dataset = AugMixDataset(dataset, num_splits=2)
        kwargs.update(num_aug_splits=2, auto_augment='augmix-m5-w2')
    elif kind == 'mixup':
        kwargs['collate_fn'] = FastCollateMixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=2)
    elif kind == 'sizes':
        kwargs['input_size_choices'] = [16, 24]
    elif kind == 'folder':
        dataset = create_dataset('torch/image_folder', root=str(root), split='train')
    elif kind == 'multi-epochs':
        kwargs['use_multi_epochs_loader'] = True
    elif kind in ('distributed', 'repeats'):
        kwargs.update(distributed=True, num_aug_repeats=3 if kind == 'repeats' else 0)
    elif kind == 'no-prefetcher':
        kwargs['use_prefetcher'] = False
    loader = create_loader(dataset, (3, 16, 16), **kwargs)
    seed_loader(loader, seed, rank)
    return loader


def epoch(loader, number=None):
    """The batches of an epoch; without a number nobody sets it."""
    if number is not None:
        loader.dataset.set_epoch(number)
        if hasattr(loader.sampler, 'set_epoch'):  # as timm's script does
            loader.sampler.set_epoch(number)
    torch.rand(3), np.random.rand(number or 5), random.random()  # noqa: NPY002  what a network draws
    return [(x.clone(), y.clone()) for x, y in loader]


def views(batches):
    return [view.numpy().tobytes() for x, _ in batches for view in x]


def equal(a, b):
    return len(a) == len(b) and all(
        torch.equal(x, z) and torch.equal(y, w) for (x, y), (z, w) in zip(a, b, strict=True)
    )


SHUFFLED = ['plain', 'augmix', 'mixup', 'folder', 'no-prefetcher', 'distributed', 'repeats', 'sizes', 'multi-epochs']


@pytest.mark.parametrize('kind', SHUFFLED)
def test_every_view_is_new_and_the_same_for_any_number_of_workers(root, kind, two_ranks):
    if kind == 'sizes':
        pytest.importorskip('timm.data.scheduled_sampler')
    loader = make(root, kind)
    runs = [epoch(loader, number) for number in range(3)]
    seen = [view for batches in runs for view in views(batches)]
    assert len(seen) >= 3 * 6
    assert len(set(seen)) == len(seen)
    for workers in (1, 2):
        loader = make(root, kind, workers)
        assert all(equal(epoch(loader, number), batches) for number, batches in enumerate(runs)), workers
        assert equal(epoch(make(root, kind, workers), 2), runs[2])  # a resumed run
    assert not equal(epoch(make(root, kind, seed=6), 0), runs[0])
    two_ranks[0] = 1
    assert not set(views(epoch(make(root, kind, rank=1), 0))) & set(seen)


@pytest.mark.parametrize('kind', SHUFFLED)
@pytest.mark.parametrize('workers', [0, 1])
def test_every_view_is_new_where_nobody_sets_the_epoch(root, kind, workers, two_ranks):
    if kind == 'sizes':
        pytest.importorskip('timm.data.scheduled_sampler')
    loader = make(root, kind, workers)
    seen = [view for _ in range(3) for view in views(epoch(loader))]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize('kind', ['plain', 'distributed', 'repeats'])
def test_the_order_depends_on_the_seed_and_the_epoch(root, kind, two_ranks):
    def order(seed, number):
        sampler = make(root, kind, seed=seed).batch_sampler.sampler
        sampler.set_epoch(number)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    if kind == 'distributed':
        first = order(1, 0)
        two_ranks[0] = 1
        assert sorted(first + order(1, 0)) == list(range(IMAGES))


def test_a_loader_that_prefetched_before_timm_set_epochs(root):
    """Before timm 1.0.31 the multi-epochs loader starts its workers when it is made, and never sets an epoch."""
    loader = make(root, 'multi-epochs', workers=1)
    inner = loader.loader

    class Repeat:
        def __init__(self, sampler):
            self.sampler = sampler

        def __iter__(self):
            while True:
                yield from iter(self.sampler)

    inner.__dict__['batch_sampler'] = Repeat(inner.batch_sampler.sampler)
    inner.iterator = torch.utils.data.DataLoader.__iter__(inner)
    before = inner.iterator
    inner.batch_sampler.sampler.sampler = inner.batch_sampler.sampler.sampler.sampler
    inner.__dict__['dataset'] = inner.dataset.dataset
    seed_loader(loader, 5)
    assert inner.iterator is not before
    seen = [view for number in range(4) for view in views(epoch(loader, number))]
    assert len(set(seen)) == len(seen)


def test_the_main_process_is_seeded_by_epoch_and_rank(root):
    def draws(seed, rank, number):
        loader = make(root, seed=seed, rank=rank)
        loader.dataset.set_epoch(number)
        assert loader.dataset.epoch == number
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    expected = draws(5, 0, 1)
    assert draws(5, 0, 1) == expected
    for other in (draws(6, 0, 1), draws(5, 1, 1), draws(5, 0, 2)):
        assert all(a != b for a, b in zip(other, expected, strict=True))
    assert draws(-1, 0, 0) == draws(2**64 - 1, 0, 0)


@pytest.mark.parametrize('kind', ['plain', 'augmix', 'mixup'])
def test_in_the_main_process_images_leave_the_generators_alone(root, kind):
    loader = make(root, kind)
    loader.dataset.set_epoch(1)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    random.setstate(states[0]), np.random.set_state(states[1]), torch.set_rng_state(states[2])  # noqa: NPY002
    next(iter(loader))
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected  # noqa: NPY002


def test_a_plain_index_uses_the_generators_as_they_are(root):
    dataset = make(root, 'no-prefetcher').dataset

    def view(seed):
        random.seed(seed)
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        return dataset[3][0], torch.rand(())

    assert all(map(torch.equal, view(1), view(1)))
    assert not any(map(torch.equal, view(1), view(2)))


def test_mixup_can_still_be_switched_off(root):
    loader = make(root, 'mixup')
    assert loader.mixup_enabled
    loader.mixup_enabled = False
    assert torch.cat([y.max(1).values for _, y in epoch(loader, 0)]).unique().numel() == 1


@pytest.mark.parametrize('seeds', [(1, 0), (2, 0), (1, 1)])
def test_worker_seeds_of_data_that_chooses_its_images(seeds):
    """An iterable data set: no position to seed by, but other random numbers for each seed and rank."""

    class Noise(IterableDataset):
        transform = None

        def __iter__(self):
            for _ in range(4):
                yield torch.randint(256, (3, 8, 8), dtype=torch.uint8), 0

    def run(seed, rank):
        loader = create_loader(Noise(), (3, 8, 8), 2, is_training=True, num_workers=1, device=CPU)
        seed_loader(loader, seed, rank)
        return [epoch(loader, number) for number in range(2)]

    first, second = run(*seeds)
    assert not equal(first, second)
    assert equal(run(*seeds)[1], second)
    assert equal(run(1, 0)[0], first) == (seeds == (1, 0))


@pytest.mark.parametrize('workers', [0, 2])
def test_naflex(root, workers, capfd):
    create_naflex_loader = pytest.importorskip('timm.data').__dict__.get('create_naflex_loader')
    if create_naflex_loader is None:
        pytest.skip('this timm has no NaFlex loader')

    def run(seed):
        loader = create_naflex_loader(
            strict(root),
            patch_size=4,
            train_seq_lens=(16,),
            batch_size=4,
            is_training=True,
            num_workers=workers,
            pin_memory=False,
            device=CPU,
        )
        seed_loader(loader, seed)
        seen = []
        for number in range(3):
            loader.dataset.set_epoch(number)
            assert loader.dataset.shared_epoch.value == number
            seen += [view.numpy().tobytes() for x, _ in loader for view in x['patches']]
        return seen

    seen = run(1)
    assert len(set(seen)) == len(seen) == 3 * IMAGES
    assert run(1) == seen
    assert not set(run(2)) & set(seen)


def test_the_data_set_in_place_of_another(root):
    loader = make(root, 'augmix')
    dataset = loader.dataset
    assert len(dataset) == IMAGES
    assert dataset.transform is dataset.dataset.dataset.transform
    dataset.target_transform = 'an attribute of the other one'
    assert dataset.dataset.target_transform == 'an attribute of the other one'
    assert not hasattr(dataset, 'nothing')
    for other in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert other._sampler is None
        index = pickle.loads(pickle.dumps(next(iter(loader.batch_sampler.sampler))))
        assert all(
            torch.equal(torch.as_tensor(a), torch.as_tensor(b))
            for a, b in zip(other[index][0], dataset[index][0], strict=True)
        )


def test_all_loaders_of_timm_are_covered():
    """A loader that is new in timm needs a look."""
    assert {name for name in dir(timm.data) if name.startswith('create_') and 'loader' in name} <= {
        'create_loader',
        'create_naflex_loader',
    }


def test_mixup_that_is_switched_off_is_off_in_workers_that_live_on(few_digits):
    """timm's --mixup-off-epoch sets a flag of the main process's copy."""
    mixup = FastCollateMixup(mixup_alpha=1.0, num_classes=10, label_smoothing=0.0)
    dataset = strict(few_digits)
    loader = create_loader(
        dataset, (3, 32, 32), 20, is_training=True, num_workers=1, collate_fn=mixup, device=torch.device('cpu')
    )
    seed_loader(loader, 1)
    mixed = torch.cat([target for _, target in loader])
    loader.mixup_enabled = False
    plain = torch.cat([target for _, target in loader])
    assert (mixed.max(dim=1).values < 1).any()
    assert (plain.max(dim=1).values == 1).all()
