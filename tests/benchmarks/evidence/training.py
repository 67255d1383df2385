"""One training: PyTorch's usual loop, on images in memory."""

import copy
import math
import time
from collections.abc import Callable

import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.nn import functional as F

from timm_vipriors.loss import create_loss
from timm_vipriors.task import FeatureClassificationTask, feature_dim

from . import images
from .networks import create
from .routing import set_progress
from .settings import Settings

CURVE = (1 / 8, 1 / 4, 1 / 2, 3 / 4)  # of the epochs, on every eighth test image


def train(settings: Settings, data: images.Images, between_epochs: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Train and evaluate; returns the columns of settings.RESULTS."""
    torch.manual_seed(1000 * settings.data_seed + settings.seed)
    generator = torch.Generator().manual_seed(1000 * settings.data_seed + settings.seed + 1)
    num_classes = len(data.classes)
    model = create(settings, num_classes)
    task = FeatureClassificationTask(
        model, make_loss(settings, data, model), smoothing=settings.smoothing, verbose=False
    ).train()
    optimizer = create_optimizer_v2(
        task.trainable_module, opt=settings.optimizer, lr=settings.lr, weight_decay=settings.wd, momentum=0.9
    )
    if settings.ema:
        task.setup_ema(decay=settings.ema, use_warmup=True)
    count = len(data.train)
    steps = max(1, count // settings.batch)
    total, warmup = settings.epochs * steps, min(5, settings.epochs // 10) * steps
    curve_at = {max(1, round(share * settings.epochs)) for share in CURVE}
    curve, losses, seconds, step = [], [], 0.0, 0
    for epoch in range(settings.epochs):
        between_epochs()
        start = time.process_time()
        set_progress(model, epoch / settings.epochs)
        order = torch.randperm(count, generator=generator)
        losses = []
        for batch in order[: steps * settings.batch].chunk(steps):
            x, target = _make_batch(data, batch, settings, generator)
            rate = learning_rate(step, warmup, total)
            for group in optimizer.param_groups:
                group['lr'] = settings.lr * rate * group.get('lr_scale', 1.0)
            loss = task(x, target)['loss']
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            task.update_ema(step=step)
            losses.append(loss.item())
        seconds += time.process_time() - start
        if epoch + 1 in curve_at:
            curve.append(f'{epoch + 1}:{evaluate(_best_model(task), data, every=8)[0]:.1f}')
        if not math.isfinite(losses[-1]):
            break
    best = _best_model(task)
    top1, test_ce = evaluate(best, data)
    again = ''
    if settings.net in ('d', 'dsk') and settings.routing != 'mean' and not settings.ema:
        again = f'{evaluate(reestimated(best, data), data)[0]:.2f}'
    return dict(
        top1=f'{top1:.2f}',
        test_ce=f'{test_ce:.4f}',
        top1_reestimated=again,
        train_loss=f'{sum(losses) / len(losses):.4f}',
        curve=' '.join(curve),
        seconds=f'{seconds:.1f}',
    )


def learning_rate(step: int, warmup: int, total: int) -> float:
    """Its share of the highest: linear warm-up, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def make_loss(settings: Settings, data: images.Images, model: nn.Module) -> nn.Module:
    """A name of create_loss; 'tsl:soft' for the tree's other mode."""
    spec, _, mode = settings.loss.partition(':')
    kwargs = {}
    if 'center' in spec:
        kwargs |= dict(num_classes=len(data.classes), feature_dim=feature_dim(model))
    if 'tsl' in spec:
        kwargs |= dict(hierarchy=data.hierarchy, tree_mode=mode or 'path')
    return create_loss(spec, **kwargs)


def _make_batch(
    data: images.Images, batch: torch.Tensor, settings: Settings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    x, target = data.train[batch], data.train_target[batch]
    if settings.lsb:
        x = images.lsb_swap(x, settings.lsb, generator)
    x = images.augment(
        normalized(x, data), generator, settings.scale, images.DEGREES[settings.data], settings.data in images.MIRRORED
    )
    if settings.cutmix and torch.rand((), generator=generator) < settings.cutmix:
        x, target = images.cutmix(x, target, len(data.classes), generator)
    return x.contiguous(memory_format=torch.channels_last), target


def normalized(x: torch.Tensor, data: images.Images) -> torch.Tensor:
    return (x.float() / 255 - data.mean) / data.std


def _best_model(task: FeatureClassificationTask) -> nn.Module:
    return task.get_eval_model(ema=task.has_ema())


@torch.no_grad()
def evaluate(model: nn.Module, data: images.Images, every: int = 1) -> tuple[float, float]:
    """Top-1 in percent and cross-entropy on the held-out images."""
    training = model.training
    model.eval()
    x, target = data.test[::every], data.test_target[::every]
    batches = (normalized(part, data).contiguous(memory_format=torch.channels_last) for part in x.split(250))
    output = torch.cat([model(batch) for batch in batches])
    model.train(training)
    return 100 * (output.argmax(1) == target).float().mean().item(), F.cross_entropy(output, target).item()


@torch.no_grad()
def reestimated(model: nn.Module, data: images.Images) -> nn.Module:
    """A copy whose BatchNorm statistics are those of the training images with λ = ½."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for batch in torch.randperm(len(data.train), generator=generator).split(100):
            x = images.augment(normalized(data.train[batch], data), generator, 0.5, 5, mirrored=False)
            model(x.contiguous(memory_format=torch.channels_last))
    return model.eval()
