"""Losses that are no numbers: the training stops and says where, or leaves the update out and counts."""

import math

import pytest
import timm
import torch
from torch import nn

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError
from timm_vipriors.files import read_checkpoint
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import CRITERIA, CenterLoss, CompositeLoss, PositiveClassLoss, TreeSupervisionLoss, create_loss
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


@pytest.mark.parametrize('how', ['stop', 'skip'])
def test_a_run_with_a_rate_that_explodes(how, few_digits, tmp_path, monkeypatch, capsys):
    """It ends in one sentence, and no checkpoint holds NaN."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.chdir(tmp_path)
    flags = [*FLAGS, '--lr', '1e38', '--warmup-epochs', '0', '--nonfinite', how]
    assert main(['train', str(few_digits), *flags]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    if how == 'stop':
        assert 'epoch 0, batch ' in err
        assert '--nonfinite skip' in err
    else:
        assert 'is not finite, so it was not saved; there is no checkpoint yet' in err
    assert not list(tmp_path.rglob('*.tar'))


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


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', CRITERIA)
def test_every_loss_with_adversarial_values_in_low_precision(name, dtype):
    """Logits and features at the ends of the type, equal, zero and tiny: loss and gradients are finite."""
    largest = torch.finfo(dtype).max if dtype == torch.float16 else 1e4  # a sum of squares must fit float32
    kwargs = dict(num_classes=6, feature_dim=5) if 'center' in name else {}
    if 'tsl' in name:
        kwargs['hierarchy'] = ClassHierarchy([6, 6, 7, 7, 8, 8, 9, 9, 9, -1])
    for values in (
        torch.zeros(6),
        torch.full((6,), largest),
        torch.full((6,), -largest),
        torch.tensor([largest, -largest, 0, 1, -1, largest]),
        torch.full((6,), torch.finfo(dtype).tiny),
        torch.tensor([1e-3, -1e-3, 0, 0, 0, 0]),
    ):
        loss = create_loss(name, **kwargs)
        output = values.to(dtype).repeat(4, 1).requires_grad_()
        features = values[:5].to(dtype).repeat(4, 1).requires_grad_()
        for target in (torch.tensor([0, 1, 5, 5]), torch.full((4, 6), 1 / 6)):
            with torch.autocast('cpu', dtype):
                value = loss(output, target, features) if loss.needs_features else loss(output, target)
            value.backward()
            assert value.isfinite(), (values, value)
            assert output.grad is None or output.grad.isfinite().all(), values
            assert features.grad is None or features.grad.isfinite().all(), values
            output.grad = features.grad = None
