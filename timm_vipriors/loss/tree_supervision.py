"""Tree supervision loss: the classifier is also trained to get every decision on the way to the class right.

VIPF Eq. 7, after Wan et al., "NBDT: Neural-Backed Decision Tree", ICLR 2021.
"""

from typing import Literal

import torch
from torch import nn

from ..hierarchy import ClassHierarchy
from . import base
from .base import Loss, Reduction
from .tree_layout import TreeLayout

Mode = Literal['path', 'soft']


def tree_supervision_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    layout: TreeLayout,
    mode: Mode = 'path',
    reduction: Reduction = 'mean',
) -> torch.Tensor:
    """Cross-entropy of the class scores that a tree gives (VIPF Eq. 7); see `TreeSupervisionLoss`."""
    base.check_choice('mode', mode, Mode)
    target = base.check_target(output, target)
    if output.shape[1] != len(layout.leaves):
        raise ValueError(f'the hierarchy has {len(layout.leaves)} classes, got {output.shape[1]} logits')
    with base.no_autocast(output):
        z = base.bounded(base.as_float32(output))
        wide = z if z.device.type == 'mps' else z.double()  # mps has no float64
        scores = layout.node_scores(wide.t().contiguous())
        if mode == 'path':
            log_p = layout.path_sums(scores).log_softmax(dim=0).t()
        else:
            log_p = layout.path_sums(layout.sibling_log_softmax(scores)).t()
        if target.ndim == 2:
            loss = -(target.to(log_p.dtype) * log_p).sum(dim=1)
        else:
            loss = -log_p.gather(1, target.unsqueeze(1)).squeeze(1)
        return base.reduce(loss, reduction).to(z.dtype)


class TreeSupervisionLoss(Loss):
    """Tree supervision loss (VIPF Eq. 7) over a hierarchy of the classes.

    A node's score is the mean of its leaves' logits.

    How we read the paper:
        * Literally (`'path'`) a class's score is the sum of the node scores from its leaf up to, not including, the
          root; then cross-entropy over the classes.
        * As NBDT's paper has it (`'soft'`), the log-probability of a class is the sum over its path of the log-softmax
          of a node's score among its siblings; then negative log-likelihood.

    NBDT's code differs on three points: it takes a second softmax, of the class probabilities; it clusters the
    classifier's raw rows, which we normalise; and before the first online tree, its tree term is a plain
    cross-entropy, where ours is zero.

    Without a hierarchy the tree is induced online from the model's own classifier (NBDT's later variant): for the first
    time after `start_epoch` epochs, then every `update_every`. The loss counts its own training batches,
    `steps_per_epoch` of them to an epoch, and reads the weights of the classifier given to `attach`
    (`FeatureClassificationTask` does that). The current tree and the count are in the state dict.

    Args:
        hierarchy: The tree. None induces it online.
        mode: 'path' or 'soft'.
        reduction: 'mean' or 'sum' over the batch, or 'none' for a loss per sample.
        num_classes: C, for an online tree.
        start_epoch: Epochs before the first online tree; 0 grows it before the first step.
        update_every: Epochs between two online trees.
        steps_per_epoch: Training batches of an epoch, for online trees; can be set later.

    Shape:
        output: logits (B, C); target: class indices (B,) or soft labels (B, C); the loss is () or (B,).

    Examples:
        >>> tree = ClassHierarchy.from_groups({'cat': ['animal'], 'dog': ['animal'], 'car': []})
        >>> loss = TreeSupervisionLoss(tree)
        >>> output = torch.tensor([[0.0, 2.0, 0.0]])  # a dog
        >>> loss(output, torch.tensor([0])) < loss(output, torch.tensor([2]))  # cat is a smaller mistake than car
        tensor(True)
    """

    def __init__(
        self,
        hierarchy: ClassHierarchy | None = None,
        mode: Mode = 'path',
        reduction: Reduction = 'mean',
        num_classes: int | None = None,
        start_epoch: int | None = None,
        update_every: int = 10,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__(mode=mode, reduction=reduction)
        base.check_choice('mode', mode, Mode)
        if (hierarchy is None) == (start_epoch is None) or (num_classes is None and hierarchy is None):
            raise ValueError(
                'TreeSupervisionLoss needs either a hierarchy, or num_classes and start_epoch to induce one online'
            )
        if hierarchy is not None and num_classes not in (None, hierarchy.num_classes):
            raise ValueError(f'the hierarchy has {hierarchy.num_classes} classes, expected {num_classes}')
        base.check_number('update_every', update_every, least=1)
        self.start_epoch = start_epoch
        self.update_every = update_every
        self.steps_per_epoch = steps_per_epoch
        self.num_classes = hierarchy.num_classes if hierarchy is not None else num_classes
        self.parents: torch.Tensor
        self.step: torch.Tensor
        empty = (2 * self.num_classes - 1) * [-2]  # room for a binary tree
        self.register_buffer('parents', torch.tensor(empty if hierarchy is None else hierarchy.parents))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        self._steps = 0  # the same as `step`, without a wait for the device
        self._classifier: tuple[nn.Module, ...] = ()  # in a tuple: not a submodule of this one
        self.layout = TreeLayout(hierarchy) if hierarchy is not None else None
        self.register_load_state_dict_post_hook(TreeSupervisionLoss._restore)

    @property
    def online(self) -> bool:
        """Whether the tree is induced from the model."""
        return self.start_epoch is not None

    def attach(self, classifier: nn.Module) -> None:
        """Set the classifier that online trees are induced from.

        Args:
            classifier: A linear layer (C, D) or 1×1 convolution, or a module whose last layer is one.

        Raises:
            ValueError: If the tree is online and there is no such layer.
        """
        layers = [m for m in classifier.modules() if getattr(getattr(m, 'weight', None), 'ndim', 0) >= 2]
        self._classifier = tuple(layers[-1:])
        if self.online and (not layers or len(layers[-1].weight) != self.num_classes):
            raise ValueError(
                f'an online tree is induced from a linear classifier of {self.num_classes} classes, got {classifier}'
            )

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.online and self.training and torch.is_grad_enabled():
            self._grow()
        if self.layout is not None:
            return self.reduced(tree_supervision_loss(output, target, self.layout, self.mode, 'none'), target)
        base.check_target(output, target)
        zeros = 0.0 * base.as_float32(output).nan_to_num().sum(dim=1)  # with a graph, as any loss
        return self.reduced(zeros, target)

    def _grow(self) -> None:
        """Induce a tree if it is time for one, and count the batch."""
        if self.steps_per_epoch is None or not self._classifier:
            raise ValueError(
                'an online tree needs steps_per_epoch, and a model with one classifier: attach(classifier)'
            )
        epoch, batch = divmod(self._steps, self.steps_per_epoch)
        since = epoch - self.start_epoch
        if batch == 0 and since >= 0 and since % self.update_every == 0:
            tree = ClassHierarchy.induce(self._classifier[0].weight.flatten(1))
            self.parents.copy_(torch.tensor(tree.parents))
            self.layout = TreeLayout(tree).to(self.parents.device)
        self._steps += 1
        self.step.fill_(self._steps)

    @staticmethod
    def _restore(module: 'TreeSupervisionLoss', incompatible_keys: object) -> None:
        """Restore what follows from a loaded state dict."""
        module._steps = int(module.step)
        parents = module.parents.tolist()
        if -2 not in parents:
            module.layout = TreeLayout(ClassHierarchy(parents)).to(module.parents.device)
