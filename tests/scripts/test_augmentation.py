"""LSB swap where it counts: in the batches that timm's loaders and scripts feed to a model."""

import numpy as np
import pytest
import torch
import yaml
from timm.data import AugMixDataset, create_dataset, create_loader
from torch.nn.modules.module import register_module_forward_pre_hook

from timm_vipriors.cli import main
from timm_vipriors.data import LSBSwap, StrictImageDataset
from timm_vipriors.scripts.augmentation import swap_first

from .flat_images import value, values, write_flat_images

ZERO_ONE = dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def flat(tmp_path_factory):
    return write_flat_images(tmp_path_factory.mktemp('flat'))


def make_loader(root, k=2, p=1.0, batch_size=16, splits=0, **kwargs):
    dataset = StrictImageDataset.of(create_dataset('', root=str(root / 'train')))
    if splits:
        dataset = AugMixDataset(dataset, num_splits=splits)
    kwargs = {**dict(is_training=True, num_workers=1, color_jitter=None, device=CPU), **ZERO_ONE, **kwargs}
    loader = create_loader(dataset, (3, 32, 32), batch_size, num_aug_splits=splits, **kwargs)
    if k:
        swap_first(LSBSwap(k, p), loader.dataset)
    return loader


def seen(loader):
    """(number of the image, its value) of each image of an epoch."""
    return [(int(y), int(v)) for x, target in loader for y, v in zip(target, values(x), strict=True)]


@pytest.mark.parametrize('use_prefetcher', [True, False])
@pytest.mark.parametrize(
    'kwargs', [{}, {'no_aug': True}, {'re_prob': 0.0, 'vflip': 0.5}], ids=['plain', 'no-aug', 'flip']
)
def test_batches_have_swapped_bits(flat, use_prefetcher, kwargs):
    torch.manual_seed(0)
    pairs = seen(make_loader(flat, use_prefetcher=use_prefetcher, **kwargs))
    assert sorted(i for i, _ in pairs) == list(range(64))
    assert all(v >> 2 == i for i, v in pairs)  # the high bits are the image's own
    swapped = sum(v != value(i) for i, v in pairs)
    assert 40 <= swapped <= 60  # three quarters have other low bits than their donor
    assert all(v == value(i) for i, v in seen(make_loader(flat, k=0, use_prefetcher=use_prefetcher, **kwargs)))


@pytest.mark.parametrize('aug', [None, 'augmix-m3'])
def test_augmented_splits_share_the_swapped_image(flat, aug):
    """With AugMix or aug-splits the first split is the clean image, and that is swapped."""
    torch.manual_seed(0)
    loader = make_loader(flat, splits=3, auto_augment=aug)
    clean = []
    for x, target in loader:
        n = len(target) // 3
        clean += zip(target[:n].tolist(), values(x[:n]), strict=True)
        if aug is None:
            assert torch.equal(x[:n], x[n : 2 * n])
    assert all(v >> 2 == i for i, v in clean)
    assert sum(v != value(i) for i, v in clean) >= 40


def test_scheduled_sizes(flat):
    pytest.importorskip('timm.data.scheduled_sampler')
    torch.manual_seed(0)
    loader = make_loader(flat, input_size_choices=[(3, 32, 32), (3, 16, 16)])
    sizes = set()
    changed = 0
    for x, target in loader:
        sizes.add(x.shape[-1])
        changed += sum(v != value(i) for i, v in zip(target.tolist(), values(x), strict=True))
    assert sizes == {16, 32}
    assert changed >= 30


def test_workers_epochs_and_seeds(flat):
    """All eight bits, half of the images: which were swapped tells a worker's random numbers."""

    def run(seed):
        torch.manual_seed(seed)
        loader = make_loader(flat, k=8, p=0.5, batch_size=8, num_workers=2)
        return [[v != value(i) for i, v in seen(loader)] for _ in range(2)]

    one = run(1)
    assert one == run(1)
    assert one != run(2)
    assert one[0] != one[1]
    for epoch in one:
        batches = np.reshape(epoch, (8, 8))  # the two workers take turns
        assert (batches[::2] != batches[1::2]).any()
        assert 16 <= sum(epoch) <= 45


FLAGS = (
    '--model test_dsk_resnext --img-size 32 --epochs 1 -b 16 --mean 0 0 0 --std 1 1 1 --color-jitter 0 '
    '--warmup-epochs 0'
).split()


@pytest.fixture
def train(flat, tmp_path, monkeypatch):
    """Train for an epoch in this process; returns the values that the model saw in training and in evaluation."""
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        batches = {True: [], False: []}

        def record(module, inputs):
            if hasattr(module, 'pretrained_cfg'):
                batches[module.training].append(inputs[0].detach().clone())

        hook = register_module_forward_pre_hook(record)
        try:
            assert main(['train', str(flat), *FLAGS, *argv]) == 0
        finally:
            hook.remove()
        return [np.concatenate([values(x.float()) for x in batches[training]]) for training in (True, False)]

    return run


@pytest.mark.parametrize(
    'flags',
    ['--workers 2', '--workers 1 --no-prefetcher --lsb-prob 1', '--workers 0'],
    ids=['workers', 'loader', 'own'],
)
def test_scripts_swap_in_training_alone(train, scripts, flags, tmp_path, caplog):
    caplog.set_level('INFO')
    trained, evaluated = train('--lsb-swap', '2', '--experiment', 'x', *flags.split())
    p = 1.0 if '--lsb-prob' in flags else 0.5
    assert len(trained) == 64
    changed = sum(v & 3 != (v >> 2) & 3 for v in trained.tolist())
    assert 0.75 * 64 * p - 14 <= changed <= 0.75 * 64 * p + 14
    assert sorted(trained >> 2) == list(range(64))
    assert len(evaluated) == 64
    assert all(v & 3 == (v >> 2) & 3 for v in evaluated.tolist())
    message = f'LSB swap: 2 low bits from another image, with probability {p:g}'
    assert [r.message for r in caplog.records].count(message) == 1
    args = yaml.safe_load((tmp_path / 'output' / 'train' / 'x' / 'args.yaml').read_text())
    assert (args['lsb_swap'], args['lsb_prob']) == (2, p)


def test_without_the_flag_nothing_is_swapped(train, scripts, caplog):
    trained, _ = train('--workers', '1')
    assert sorted(trained) == [value(i) for i in range(64)]
    assert 'LSB' not in caplog.text


def test_splits_of_augmented_images_in_timms_script(train, timm_scripts):
    trained, _ = train('--workers', '1', '--lsb-swap', '2', '--lsb-prob', '1', '--aug-splits', '2')
    clean = trained.reshape(4, 2, 16)[:, 0].ravel()
    assert sorted(clean >> 2) == list(range(64))
    assert sum(v & 3 != (v >> 2) & 3 for v in clean.tolist()) >= 40
