"""Losses that are not finite: the run stops and says where, or skips the update and counts."""

import math

import pytest
import timm
import torch
from torch import nn

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError
from timm_vipriors.files import read_checkpoint
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import CenterLoss, CompositeLoss, PositiveClassLoss, TreeSupervisionLoss
from timm_vipriors.scripts.nonfinite import LossGuard
from timm_vipriors.task import FeatureClassificationTask

FLAGS = '--model test_dsk_resnext --img-size 32 -b 20 --workers 1 --epochs 2 --experiment run'.split()


class BadTree(TreeSupervisionLoss):
    """Gives NaN from its third training batch on."""

    calls = 0

    def forward(self, output, target):
        loss = super().forward(output, target)
        if torch.is_grad_enabled():
            self.calls += 1
        return loss * (math.nan if self.calls >= 3 else 1)


def make_task(tree=BadTree):
    model = timm.create_model('test_dsk_resnext', num_classes=4)
    hierarchy = ClassHierarchy([4, 4, 5, 5, 6, 6, -1])
    criterion = CompositeLoss(PositiveClassLoss(), CenterLoss(4, model.head_hidden_size), tree(hierarchy))
    return FeatureClassificationTask(model, criterion, verbose=False)


def batch():
    return torch.randn(8, 3, 32, 32), torch.arange(8) % 4


def test_stop_names_the_term_and_the_batch():
    guard, task = LossGuard(), make_task()
    guard.watch(task)
    for _ in range(2):
        task(*batch())
    with pytest.raises(UserError, match=r'epoch 0, batch 2: the loss is nan: of its terms tree \(nan\)'):
        task(*batch())
    guard.close()
    task(*batch())  # unwatched again


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        (lambda task, x: x.fill_(math.inf), 'the images of the batch are not finite'),
        (lambda task, x: nn.init.constant_(task.trainable_module.model.fc.bias, math.nan), "network's logits are not"),
    ],
)
def test_stop_tells_images_and_logits(spoil, text):
    guard, task = LossGuard(), make_task(TreeSupervisionLoss)
    guard.watch(task)
    x, y = batch()
    spoil(task, x)
    with pytest.raises(UserError, match=text):
        task(x, y)


def test_skip_leaves_weights_and_momentum_alone():
    guard, task = LossGuard(skip=True), make_task()
    guard.watch(task)
    optimizer = torch.optim.SGD(task.get_trainable_module().parameters(), lr=0.1, momentum=0.9)
    states = []
    try:
        for _ in range(4):
            task(*batch())['loss'].backward()
            optimizer.step()
            optimizer.zero_grad()
            momentum = [optimizer.state[p]['momentum_buffer'].clone() for p in optimizer.state]
            states.append(([p.detach().clone() for p in task.get_trainable_module().parameters()], momentum))
    finally:
        guard.close()
    assert guard.skipped == 2
    assert any(not torch.equal(a, b) for a, b in zip(states[0][0], states[1][0], strict=True))
    for i in (2, 3):
        for kind in range(2):
            assert all(torch.equal(a, b) for a, b in zip(states[1][kind], states[i][kind], strict=True))
    # unwatched, a bad step is taken again
    task(*batch())['loss'].backward()
    optimizer.step()
    assert not all(p.isfinite().all() for p in task.get_trainable_module().parameters())


def test_skip_undoes_what_the_forward_pass_changed():
    """BatchNorm's statistics and centers: with NaN in them every later update would be skipped, too."""
    guard, task = LossGuard(skip=True), make_task(TreeSupervisionLoss)
    guard.watch(task)
    module = task.get_trainable_module()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    x, y = batch()

    def step(images):
        task(images, y)['loss'].backward()
        optimizer.step()
        optimizer.zero_grad()
        return [b.clone() for b in module.buffers()]

    try:
        before = step(x)
        after = step(x * math.nan)
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        centers = module.criterion.center.centers.clone()
        step(x)
        assert guard.skipped == 1
        assert not torch.equal(centers, module.criterion.center.centers)
        assert all(b.isfinite().all() for b in module.buffers())
    finally:
        guard.close()


@pytest.mark.parametrize('how', ['stop', 'skip'])
def test_a_run_with_a_rate_that_explodes(how, few_digits, tmp_path, monkeypatch, capsys):
    """It ends in one sentence, or skips what is not finite; no checkpoint holds NaN."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.chdir(tmp_path)
    flags = [*FLAGS, '--lr', '1e38', '--warmup-epochs', '0', '--nonfinite', how]
    code = main(['train', str(few_digits), *flags])
    err = capsys.readouterr().err.strip().splitlines()
    if how == 'stop':
        assert code == 2
        assert 'epoch 0, batch ' in err[-1]
        assert '--nonfinite skip' in err[-1]
        assert not list(tmp_path.rglob('*.tar'))
    else:
        assert code == 0
        assert any('updates in all were skipped' in line for line in err)
        state = read_checkpoint(tmp_path / 'output' / 'train' / 'run' / 'last.pth.tar')['state_dict']
        assert all(value.isfinite().all() for value in state.values())


def test_a_checkpoint_before_the_explosion_stays(few_digits, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.chdir(tmp_path)
    flags = [*FLAGS, '--sched', 'multistep', '--decay-milestones', '1', '--decay-rate', '1e38', '--warmup-epochs', '0']
    assert main(['train', str(few_digits), *flags]) == 2
    assert 'epoch 1, batch ' in capsys.readouterr().err
    folder = tmp_path / 'output' / 'train' / 'run'
    assert sorted(p.name for p in folder.iterdir()) == [
        'args.yaml',
        'checkpoint-0.pth.tar',
        'last.pth.tar',
        'model_best.pth.tar',
        'summary.csv',
    ]
    state = read_checkpoint(str(folder / 'last.pth.tar'))
    assert state['epoch'] == 0
    assert all(t.isfinite().all() for t in state['state_dict'].values() if t.is_floating_point())
