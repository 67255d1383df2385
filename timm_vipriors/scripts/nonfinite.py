"""What happens when the loss is not a finite number: the run stops and says where, or the update is skipped."""

import logging
from typing import Any

import torch
from timm.utils import unwrap_model
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ..errors import UserError

_logger = logging.getLogger('train')


class LossGuard:
    """Watches the losses of a task: stops the run at the first that is not finite, or skips and counts such updates."""

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.skipped = 0
        self._epoch = self._batch = -1
        self._loader: Any = None
        self._hooks: list[Any] = []
        self._buffers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._spoiled = False  # whether they have seen a batch that was not finite

    def follow(self, loader: Any) -> None:
        """Take the epoch from the training loader's data set, for messages."""
        self._loader = loader

    def watch(self, task: nn.Module) -> None:
        """Check every result of a task in training."""
        self._hooks.append(task.register_forward_hook(self._after_forward))
        if self.skip:
            self._hooks.append(task.register_forward_pre_hook(self._before_forward))
            self._hooks.append(register_optimizer_step_pre_hook(self._before_step))

    def close(self) -> None:
        """Stop watching, and release the loader: its processes end with the last reference to it."""
        self._loader = None
        self._buffers = []
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _before_forward(self, task: nn.Module, inputs: tuple) -> None:
        """Remember what the forward pass changes: BatchNorm's statistics and centers."""
        if torch.is_grad_enabled():
            self._restore()
            self._buffers = [(b, b.clone()) for b in task.get_trainable_module().buffers()]

    def _restore(self) -> None:
        """Undo what a batch that was not finite has changed; only after its backward pass, which needs it."""
        if self._spoiled:
            for buffer, before in self._buffers:
                buffer.data.copy_(before)
            self._spoiled = False

    def _after_forward(self, task: nn.Module, inputs: tuple, result: dict[str, torch.Tensor]) -> None:
        if not torch.is_grad_enabled():
            return
        self._count()
        if torch.isfinite(result['loss']):
            return
        loss = result['loss'].item()
        where = f'epoch {self._epoch}, batch {self._batch}: the loss is {loss}: {diagnose(task, *inputs, result)}'
        if not self.skip:
            raise UserError(
                f'{where}. Nothing was saved since the last checkpoint. A lower --lr, --clip-grad 1 or --amp-dtype '
                f'bfloat16 often help; --nonfinite skip skips such updates'
            )
        self._spoiled = True
        _logger.warning(where)

    def _count(self) -> None:
        """Find the place of the batch that was computed, both counted from 0."""
        epoch = int(getattr(getattr(self._loader, 'dataset', None), 'epoch', 0))  # as the script has told the data set
        self._epoch, self._batch = epoch, self._batch + 1 if epoch == self._epoch else 0

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        self._restore()
        grads = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        if not grads or torch.stack([grad.detach().norm() for grad in grads]).isfinite().all():
            return
        optimizer.zero_grad(set_to_none=True)  # without gradients a step does nothing
        self.skipped += 1
        _logger.warning(f'epoch {self._epoch}: update skipped, a gradient is not finite; {self.skipped} so far')


def diagnose(task: nn.Module, input: torch.Tensor, target: torch.Tensor, result: dict[str, torch.Tensor]) -> str:
    """What is not finite: the images, the logits, or which terms of a composite loss."""
    if not torch.isfinite(input).all():
        return 'the images of the batch are not finite'
    if not torch.isfinite(result['output']).all():
        return "the network's logits are not finite"
    criterion = getattr(unwrap_model(task.get_trainable_module()), 'criterion', None)
    if not hasattr(criterion, 'terms'):
        return 'the logits are finite, the loss of them is not'
    with torch.no_grad():
        terms = criterion.terms(result['output'], target, result.get('features'))
    bad = [f'{name} ({value.item()})' for name, value in terms.items() if not torch.isfinite(value)]
    return f'of its terms {", ".join(bad)}' if bad else 'each term is finite, their sum is not'
