"""Each part that a script looks up, without a script: in any order, with the right values."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch
from timm.data import AugMixDataset
from torch import nn

from timm_vipriors.data import LSBSwap
from timm_vipriors.errors import UserError
from timm_vipriors.loss import TreeSupervisionLoss
from timm_vipriors.scripts.loss_spec import LossSpec
from timm_vipriors.scripts.plugin import Plugin
from timm_vipriors.scripts.swap import make_swap

from .flat_images import value, values, write_flat_images
from .parsing import parse

NAMES = list('0123456789')
SIZE = dict(input_size=(3, 32, 32), batch_size=16, device=torch.device('cpu'))


def make(line='', **kwargs):
    return Plugin(parse(f'DATA --model test_dsk_resnext --img-size 32 --num-classes 10 {line}'), **kwargs)


def model(plugin, **kwargs):
    return plugin.create_model('test_dsk_resnext', num_classes=10, in_chans=3, **kwargs)


def loader(plugin, root, split='train', is_training=True, workers=1, **kwargs):
    dataset = plugin.create_dataset('', root=str(root), split=split, is_training=is_training)
    return plugin.create_loader(dataset, is_training=is_training, num_workers=workers, **{**SIZE, **kwargs})


def test_a_model_and_what_checkpoints_say_of_it():
    plugin = make('--mean 0.1 0.2 0.3 --crop-pct 0.9 --gp max --model-kwargs drop_rate=0.1', class_names=NAMES)
    model(plugin, global_pool='max', drop_rate=0.1)
    assert plugin.description == {
        'model': 'test_dsk_resnext',
        'model_kwargs': {'drop_rate': 0.1},
        'gp': 'max',
        'num_classes': 10,
        'class_names': NAMES,
        'input_size': (3, 32, 32),
        'mean': (0.1, 0.2, 0.3),
        'std': plugin.description['std'],
        'interpolation': 'bicubic',
        'crop_pct': 0.9,
        'crop_mode': 'center',
    }
    task = plugin.classification_task(model(plugin), nn.CrossEntropyLoss(), verbose=False)
    assert task.get_checkpoint_state()['timm_vipriors'] == json.loads(json.dumps(plugin.description))
    assert 'timm_vipriors' not in task.get_checkpoint_state(ema=True)
    plugin.guard.close()


def test_splits_count_the_same_classes(few_digits, tmp_path):
    shutil.copytree(few_digits, tmp_path / 'data')
    shutil.rmtree(tmp_path / 'data' / 'validation' / '0')
    shutil.copytree(tmp_path / 'data' / 'validation' / '1', tmp_path / 'data' / 'validation' / '0a')
    dataset = make(class_names=NAMES).create_dataset('', root=str(tmp_path / 'data'), split='validation')
    targets = {path.split('/')[0]: target for path, target in zip(dataset.filenames(), _targets(dataset), strict=True)}
    assert targets == {name: int(name) for name in NAMES[1:]}


def _targets(dataset):
    return [target for _, target in dataset.reader.samples]


def test_evaluation_crops_as_the_model_wants(few_digits):
    """timm's train.py leaves crop_mode out, so that it and validate.py would see different images."""
    plugin = make()
    model(plugin)
    plugin.description['crop_mode'] = 'squash'
    transform = loader(plugin, few_digits, 'validation', is_training=False).dataset.transform
    assert 'size=(36, 36)' in str(transform.transforms[0])  # both sides, not the shorter one


@pytest.mark.parametrize('loader_first', [True, False])
def test_a_growing_tree_learns_the_length_of_an_epoch_in_any_order(few_digits, loader_first):
    plugin = make('--smoothing 0.2', loss=LossSpec('pcl+center+tsl', {'tree_start_epoch': 1}), class_names=NAMES)
    network = model(plugin)
    if loader_first:
        loader(plugin, few_digits)
    task = plugin.classification_task(network, nn.CrossEntropyLoss(), verbose=False)
    if not loader_first:
        loader(plugin, few_digits)
    (tree,) = (m for m in task.get_trainable_module().modules() if isinstance(m, TreeSupervisionLoss))
    assert tree.steps_per_epoch == 5
    assert task.smoothing == 0.2
    plugin.guard.close()


def test_the_scripts_own_loss_is_kept_without_a_criterion():
    plugin = make('--smoothing 0.2')
    task = plugin.classification_task(model(plugin), timm.loss.LabelSmoothingCrossEntropy(0.2), verbose=False)
    assert task.smoothing == 0  # the loss does it
    criterion = task.get_trainable_module().criterion
    assert isinstance(criterion, timm.loss.LabelSmoothingCrossEntropy)
    plugin.guard.close()


def test_values_that_no_loss_can_have():
    plugin = make(loss=LossSpec('focal-cosine', {'gamma': -1}))
    with pytest.raises(UserError, match='gamma must be'):
        plugin.classification_task(model(plugin), verbose=False)


@pytest.mark.parametrize('experiment', ['', 'mine'])
def test_folders_of_runs(tmp_path, experiment):
    plugin = make(f'--experiment "{experiment}"')
    made = [plugin.get_outdir(str(tmp_path), 'name') for _ in range(3)]
    if experiment:
        assert made == [str(tmp_path / 'name')] * 3
    else:
        assert made == [str(tmp_path / name) for name in ('name', 'name-1', 'name-2')]


def test_one_header_in_a_summary(tmp_path):
    plugin = make()
    for epoch in range(2):
        plugin.update_summary(
            epoch, {'loss': 1.0}, {'top1': 2.0}, filename=str(tmp_path / 's.csv'), lr=0.1, write_header=True
        )
    assert (tmp_path / 's.csv').read_text().splitlines() == [
        'epoch,train_loss,eval_top1,lr',
        '0,1.0,2.0,0.1',
        '1,1.0,2.0,0.1',
    ]


@pytest.mark.parametrize(
    ('line', 'sides'),
    [
        *(('', (300, 300)), ('--cache-shrink', (131, 131)), ('--cache-shrink --no-aug', (32, 32))),
        *(('--cache-shrink --scale 0.5 1', (53, 53)), ('--cache-shrink --ratio 1 1.1', (119, 119))),
    ],
)
def test_training_images_are_shrunk_to_what_the_crop_needs(tmp_path, line, sides):
    root = write_flat_images(tmp_path, 1, 300)
    plugin = make(f'--cache ram {line}')
    for split, expected in (('train', sides), ('validation', (300, 300))):
        data = plugin.create_dataset('', root=str(root), split=split, is_training=split == 'train')
        assert [data[0][0].size for _ in range(2)] == [expected] * 2


# --- LSB swap, in the batches that timm's loaders feed to a model


@pytest.fixture(scope='module')
def flat(tmp_path_factory):
    return write_flat_images(tmp_path_factory.mktemp('flat'))


ZERO_ONE = dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), color_jitter=None)


def swapped_loader(flat, k=2, p=1.0, splits=0, cache='off', **kwargs):
    plugin = make(f'--cache {cache}', swap=LSBSwap(k, p) if k else None)
    dataset = plugin.create_dataset('', root=str(flat), split='train', is_training=True)
    if splits:
        dataset = AugMixDataset(dataset, num_splits=splits)
    settings = {**SIZE, **ZERO_ONE, 'num_workers': 1, 'num_aug_splits': splits, **kwargs}
    return plugin.create_loader(dataset, is_training=True, **settings)


def seen(loader):
    """(number of the image, its value) of each image of an epoch."""
    return [(int(y), int(v)) for x, target in loader for y, v in zip(target, values(x), strict=True)]


@pytest.mark.parametrize('use_prefetcher', [True, False])
@pytest.mark.parametrize('kwargs', [{}, {'no_aug': True}], ids=['augmented', 'no-aug'])
def test_batches_have_swapped_bits(flat, use_prefetcher, kwargs):
    torch.manual_seed(0)
    pairs = seen(swapped_loader(flat, use_prefetcher=use_prefetcher, **kwargs))
    assert sorted(i for i, _ in pairs) == list(range(64))
    assert all(v >> 2 == i for i, v in pairs)  # the high bits are the image's own
    assert 40 <= sum(v != value(i) for i, v in pairs) <= 60  # three quarters have other low bits than their donor
    assert all(v == value(i) for i, v in seen(swapped_loader(flat, k=0, use_prefetcher=use_prefetcher, **kwargs)))


@pytest.mark.parametrize('cache', ['ram', 'off'])
def test_swapped_bits_are_those_of_the_seed_and_the_epoch(flat, cache):
    """With any number of processes, and where a run begins with a later epoch."""

    def run(workers, first, last):
        loader = swapped_loader(flat, 2, 1.0, cache=cache, num_workers=workers)
        epochs = []
        for number in range(first, last):
            loader.dataset.set_epoch(number)
            epochs.append(seen(loader))
        return epochs

    epochs = run(0, 0, 3)
    assert run(2, 0, 3) == epochs
    assert run(1, 2, 3) == epochs[2:]
    assert dict(epochs[0]) != dict(epochs[1])
    assert {v & 3 for _, v in epochs[0][:4]} != {0}
    changed = [sum(v != value(i) for i, v in epoch) for epoch in epochs]
    assert all(35 <= number <= 60 for number in changed)


@pytest.mark.parametrize('aug', [None, 'augmix-m3'])
def test_augmented_splits_share_the_swapped_image(flat, aug):
    """With AugMix or aug-splits the first split is the clean image, and that is swapped."""
    clean = []
    for x, target in swapped_loader(flat, splits=3, auto_augment=aug):
        n = len(target) // 3
        clean += zip(target[:n].tolist(), values(x[:n]), strict=True)
        if aug is None:
            assert torch.equal(x[:n], x[n : 2 * n])
    assert all(v >> 2 == i for i, v in clean)
    assert sum(v != value(i) for i, v in clean) >= 40


def test_policies_that_posterize_to_no_bits_run_on_every_pillow(flat):
    for x, _ in swapped_loader(flat, k=0, auto_augment='rand-m10-n9-inc1'):
        assert x.isfinite().all()


def test_scheduled_sizes(flat):
    pytest.importorskip('timm.data.scheduled_sampler')
    sizes, changed = set(), 0
    for x, target in swapped_loader(flat, input_size_choices=[(3, 32, 32), (3, 16, 16)]):
        sizes.add(x.shape[-1])
        changed += sum(v != value(i) for i, v in zip(target.tolist(), values(x), strict=True))
    assert sizes == {16, 32}
    assert changed >= 30


def test_evaluation_is_never_swapped(flat):
    plugin = make('--mean 0 0 0 --std 1 1 1', swap=LSBSwap(2, 1.0))
    dataset = plugin.create_dataset('', root=str(flat), split='validation')
    evaluation = plugin.create_loader(dataset, num_workers=0, mean=(0.0,) * 3, std=(1.0,) * 3, **SIZE)
    assert np.concatenate([values(x) for x, _ in evaluation]).tolist() == [value(i) for i in range(64)]


@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('--lsb-swap 9', '--lsb-swap 9 --lsb-prob 0.5: k is a number of bits'),
        ('--lsb-swap 2 --lsb-prob 1.5', 'p is a probability and must be in 0 … 1, got 1.5'),
        ('--lsb-prob 0.9', '--lsb-prob needs --lsb-swap K'),
    ],
)
def test_flags_that_make_no_swap(line, sentence):
    with pytest.raises(UserError) as e:
        make_swap(parse(f'DATA {line}'))
    assert sentence in str(e.value)
