import argparse
import copy
import pickle

import numpy as np
import pytest
import timm
import torch
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask
from timm.utils import CheckpointSaver
from torch import nn

from timm_vipriors.checkpoint import DESCRIPTION, Checkpoint
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import FocalCosineLoss, create_loss
from timm_vipriors.task import FeatureClassificationTask, feature_dim

CLASSES = 6


class FeatureLoss(nn.Module):
    """A criterion that needs features and has a parameter and a buffer."""

    needs_features = True

    def __init__(self, dim):
        super().__init__()
        self.center = nn.Parameter(torch.zeros(dim))
        self.register_buffer('calls', torch.zeros(()))

    def forward(self, output, target, features):
        self.calls += 1
        return nn.functional.cross_entropy(output, target) + (features - self.center).square().mean()

    def no_weight_decay(self):
        return {'center'}


def make_model(name='test_dsk_resnext', **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=CLASSES, **kwargs)


def make_task(criterion=None, model=None, **kwargs):
    model = model or make_model()
    return FeatureClassificationTask(model, criterion, verbose=False, **kwargs)


def batch(size=4):
    return torch.randn(size, 3, 48, 48), torch.arange(size) % CLASSES


def test_features_are_recorded_by_copies_of_their_own_and_never_by_the_plain_model():
    task = make_task(FeatureLoss(384), make_model(drop_rate=0.5))
    x, y = batch()
    model, module = task.get_eval_model(), task.get_trainable_module()
    module(x)
    model(x)  # keeps nothing: a copy of a graph's tensor would fail
    copied, pickled = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    task.setup_ema(decay=0.5)
    for other in (copied, pickled, task.get_trainable_module(ema=True).module):
        nn.init.zeros_(other.model.fc.weight)
        torch.manual_seed(1)
        logits, features = other.eval()(x)
        assert torch.equal(logits, other.model.fc.bias.expand(4, -1))
        torch.testing.assert_close(features, model.eval().forward_head(model.forward_features(x), pre_logits=True))
        assert other.recorder is not module.recorder
    assert model.fc.weight.any()
    assert list(module.state_dict()) == [f'model.{k}' for k in model.state_dict()] + [
        'criterion.center',
        'criterion.calls',
    ]
    model.reset_classifier(CLASSES)
    with pytest.raises(ValueError, match=r'calls its classifier once with them, but the classifier of ResNet got noth'):
        task(x, y)


class Twice(nn.Module):
    """Calls its classifier twice, or with a map of features."""

    def __init__(self, size):
        super().__init__()
        self.fc, self.size = nn.Conv2d(3, CLASSES, 1), size

    def get_classifier(self):
        return self.fc

    def forward(self, x):
        x = nn.functional.adaptive_avg_pool2d(x, self.size)
        return (self.fc(x) + (self.fc(x) if self.size == 1 else 0)).mean((2, 3))


@pytest.mark.parametrize('size', [1, 2])
def test_features_that_are_none(size):
    with pytest.raises(ValueError, match=rf'needs features \(B, D\): .* Twice got \(4, 3, {size}, {size}\)'):
        make_task(FeatureLoss(3), Twice(size))(*batch())


def test_with_a_plain_criterion_it_is_timms_task():
    x, y = batch()
    model = make_model()
    theirs = ClassificationTask(copy.deepcopy(model), nn.CrossEntropyLoss(), verbose=False)
    ours = make_task(nn.CrossEntropyLoss(), model)
    results = []
    for task in (theirs, ours):
        torch.manual_seed(1)
        result = task(x, y)
        result['loss'].backward()
        results.append(result)
    assert set(results[1]) == {'loss', 'output'}
    assert torch.equal(results[0]['loss'], results[1]['loss'])
    for p, q in zip(theirs.trainable_module.parameters(), ours.trainable_module.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)
    assert make_task().get_task_state() == {}


def test_smoothing_of_hard_labels_is_timms():
    x, y = batch()
    model = make_model().eval()
    expected = LabelSmoothingCrossEntropy(0.2)(model(x), y)
    torch.testing.assert_close(make_task(nn.CrossEntropyLoss(), model, smoothing=0.2)(x, y)['loss'], expected)
    soft = torch.softmax(torch.randn(4, CLASSES), dim=1)
    task = make_task(nn.CrossEntropyLoss(), model, smoothing=0.2)
    torch.testing.assert_close(task(x, soft)['loss'], nn.functional.cross_entropy(model(x), soft))


def test_the_criterions_parameters_are_trained_clipped_and_not_decayed():
    criterion = FeatureLoss(384)
    task = make_task(criterion)
    optimizer = create_optimizer_v2(task.get_trainable_module(), opt='sgd', lr=1.0, weight_decay=0.1)
    decay = {id(p): g['weight_decay'] for g in optimizer.param_groups for p in g['params']}
    assert decay[id(criterion.center)] == 0
    assert decay[id(task.get_eval_model().fc.weight)] == 0.1
    assert decay[id(task.get_eval_model().fc.bias)] == 0
    assert any(p is criterion.center for p in task.get_clip_parameters())
    without_head = task.get_clip_parameters(exclude_head=True)
    assert any(p is criterion.center for p in without_head)
    assert not any(p is task.get_eval_model().fc.weight for p in without_head)
    task(*batch())['loss'].backward()
    assert all(p.grad is not None for p in task.parameters())
    optimizer.step()
    assert criterion.center.abs().sum() > 0


def test_a_learned_heads_bias_is_not_decayed_and_layers_keep_their_rates():
    task = make_task(FocalCosineLoss(num_classes=CLASSES))
    groups = create_optimizer_v2(
        task.get_trainable_module(), opt='sgd', lr=0.1, weight_decay=0.1, layer_decay=0.5
    ).param_groups
    of = {id(p): g for g in groups for p in g['params']}
    head = task.get_trainable_module().criterion.head
    assert of[id(head.bias)]['weight_decay'] == 0
    assert of[id(head.weight)]['lr_scale'] == of[id(task.get_eval_model().fc.weight)]['lr_scale'] == 1.0
    assert of[id(task.get_eval_model().conv1.weight)]['lr_scale'] < 0.1


def test_checkpoint_state_survives_a_weights_only_round_trip(tmp_path):
    task = make_task(FeatureLoss(384))
    task.setup_ema(decay=0.5)
    optimizer = torch.optim.SGD(task.get_trainable_module().parameters(), lr=0.1)
    for step in range(2):
        task(*batch())['loss'].backward()
        optimizer.step()
        task.update_ema(step=step + 5)
    state = {**task.get_checkpoint_state(), **task.get_checkpoint_state(ema=True), 'args': argparse.Namespace(a=1)}
    assert set(state['state_dict']) == set(make_model().state_dict())  # the plain model's keys
    torch.save(state, tmp_path / 'c.pt')
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(tmp_path / 'c.pt', weights_only=True)

    other = make_task(FeatureLoss(384))
    other.load_checkpoint_state(state['state_dict'], state['task_state'])
    other.setup_ema(decay=0.5)
    other.load_checkpoint_state(state['state_dict_ema'], state['task_state_ema'], ema=True)
    for a, b in zip(task.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    ema, live = (other.get_trainable_module(ema=e) for e in (True, False))
    assert not torch.equal(ema.module.criterion.center, live.criterion.center)
    assert live.criterion.calls == 2


def test_every_checkpoint_says_what_it_is(tmp_path):
    description = {'model': 'test_dsk_resnext', 'class_names': ('a', 'b'), 'crop_pct': np.float64(0.875)}
    task = make_task(description=description)
    task.setup_ema()
    optimizer = torch.optim.SGD(task.get_trainable_module().parameters(), lr=0.1)
    saver = CheckpointSaver(
        task.get_eval_model(), optimizer, checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path), task=task
    )
    saver.save_checkpoint(0, metric=1.0)
    saver.save_recovery(1, batch_idx=2)
    for name in ('last.pth.tar', 'model_best.pth.tar', 'recovery-1-2.pth.tar'):
        checkpoint = Checkpoint.read(tmp_path / name)
        assert checkpoint.description == {**description, 'class_names': ['a', 'b']}
        assert checkpoint.class_names == ['a', 'b']
    assert DESCRIPTION in task.get_checkpoint_state()
    assert set(task.get_checkpoint_state(ema=True)) == {'state_dict_ema'}
    assert DESCRIPTION not in make_task().get_checkpoint_state()


def test_task_state_of_another_criterion_is_an_error():
    task = make_task(FocalCosineLoss(num_classes=CLASSES))
    model = task.get_eval_model().state_dict()
    with pytest.raises(ValueError, match='criterion state of nothing, but FocalCosineLoss has'):
        task.load_checkpoint_state(model, None)
    with pytest.raises(ValueError, match=r"state of \['head.bias', 'head.weight'\], but FocalCosineLoss has none"):
        make_task(FocalCosineLoss()).load_checkpoint_state(model, task.get_task_state())
    with pytest.raises(RuntimeError, match='setup_ema'):
        task.load_task_state({}, ema=True)


def test_evaluation_sees_the_plain_model_also_when_compiled():
    model = make_model().eval()
    task = make_task(FeatureLoss(384), model)
    assert task.get_eval_model() is model
    task.setup_ema()
    assert type(task.get_eval_model(ema=True)) is type(model)
    x, y = batch()
    expected, loss = model(x), task(x, y)['loss']
    keys = set(task.get_checkpoint_state()['state_dict'])
    torch._dynamo.reset()
    task.compile(backend='aot_eager')
    task.compile_ema(backend='aot_eager')
    torch.testing.assert_close(task.get_eval_model()(x), expected)
    torch.testing.assert_close(task(x, y)['loss'], loss)
    assert set(task.get_checkpoint_state(ema=True)['state_dict_ema']) == keys == set(model.state_dict())
    assert 'criterion' in task.get_task_state()
    task.update_ema(step=1)


def test_features_need_a_model_that_gives_them():
    with pytest.raises(ValueError, match=r'FeatureLoss needs the features .* expected a timm model .* got Linear'):
        make_task(FeatureLoss(3), nn.Linear(3, 3))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    task = make_task(FocalCosineLoss(num_classes=CLASSES))
    with torch.autocast('cpu', dtype=dtype):
        loss = task(*batch())['loss']
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.isfinite().all() for p in task.parameters())


@pytest.mark.parametrize('pool', ['avg', 'catavgmax'])
def test_feature_dim_is_the_width_of_the_features(pool):
    model = make_model(global_pool=pool)
    assert feature_dim(model) == model.forward_head(model.forward_features(batch()[0]), pre_logits=True).shape[1]


def test_a_growing_tree_sees_the_models_classifier_and_its_ema_copys():
    criterion = create_loss('ce+tsl', num_classes=CLASSES, tree_start_epoch=0, steps_per_epoch=2)
    task = make_task(criterion)
    assert criterion.tree._classifier[0] is task.get_eval_model().fc
    expected = ClassHierarchy.induce(task.get_eval_model().fc.weight)
    task(*batch())['loss'].backward()
    assert tuple(criterion.tree.parents.tolist()) == expected.parents
    task.setup_ema()
    task.update_ema(step=1)
    ema = task.get_trainable_module(ema=True).module
    assert ema.criterion.tree._classifier[0] is ema.model.fc
    assert torch.equal(ema.criterion.tree.parents, criterion.tree.parents)


@pytest.mark.parametrize('name', ['efficientvit_m0', 'deit_tiny_distilled_patch16_224'])
def test_a_growing_tree_finds_the_linear_layer_of_a_classifier(name):
    criterion = create_loss('ce+tsl', num_classes=CLASSES, tree_start_epoch=0, steps_per_epoch=1)
    model = make_model(name)
    task = make_task(criterion, model)
    x, y = torch.randn(4, 3, 224, 224), batch()[1]
    if name.startswith('deit'):
        with pytest.raises(ValueError, match='a model with one classifier'):
            task(x, y)
        return
    weight = [p for p in model.get_classifier().parameters() if p.ndim == 2][-1]
    expected = ClassHierarchy.induce(weight)
    task(x, y)
    assert tuple(criterion.tree.parents.tolist()) == expected.parents


def make_frozen_task(size):
    """A task whose gradients depend on no other sample of the batch: no statistics, no dropout, centers that stay."""
    criterion = create_loss(
        'pcl+center',
        num_classes=CLASSES,
        feature_dim=384,
        center_weight=0.01,
        center_alpha=0.0,
        center_batch_size=size,
    )
    criterion.center.centers.copy_(torch.randn(CLASSES, 384, generator=torch.Generator().manual_seed(1)))
    return make_task(criterion, make_model().eval())


def gradient(task):
    return torch.cat([p.grad.flatten() for p in task.get_trainable_module().parameters()])


def _train_a_part(rank, folder, x, y):
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    task = make_frozen_task(8)
    task.prepare_distributed()
    task(x.chunk(2)[rank], y.chunk(2)[rank])['loss'].backward()
    torch.save(gradient(task), f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_an_update_does_not_depend_on_how_its_batch_is_cut(tmp_path):
    torch.manual_seed(2)
    x, y = batch(8)
    whole = make_frozen_task(8)
    whole(x, y)['loss'].backward()
    literal = make_frozen_task(None)
    literal(x, y)['loss'].backward()
    torch.testing.assert_close(gradient(whole), gradient(literal))
    accumulated = make_frozen_task(8)
    for part, target in zip(x.chunk(4), y.chunk(4), strict=True):
        (accumulated(part, target)['loss'] / 4).backward()  # as timm's script does
    torch.testing.assert_close(gradient(accumulated), gradient(whole), rtol=1e-4, atol=1e-5)
    torch.multiprocessing.spawn(_train_a_part, (str(tmp_path), x, y), nprocs=2)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f'{rank}.pt'), gradient(whole), rtol=1e-4, atol=1e-5)


def test_composite_with_accumulation_and_clipping_of_centers():
    task = make_task(create_loss('pcl+center', num_classes=CLASSES, feature_dim=384))
    for _ in range(2):
        with task.no_sync():
            task(*batch())['loss'].backward()
    assert all(p.grad is not None for p in task.parameters())
    assert not any(b is p for b in task.buffers() for p in task.get_clip_parameters())
    assert 'features' in task(*batch())
