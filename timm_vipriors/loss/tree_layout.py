"""Sums over the nodes and the paths of a tree without a loop over its nodes.

With the leaves in depth-first order each node covers a range of them. The sums of all nodes are then differences of one
running sum over the leaves. Conversely, the sum along a leaf's path is a running sum over the leaves, to which each
node's value is added where its range begins, and subtracted where it ends. Both should run in float64, so that the
differences lose no precision.
"""

import torch
from torch import nn

from ..hierarchy import ClassHierarchy


class _TreeSums(torch.autograd.Function):
    """Sums of leaf values over the leaves of each node, or (`to_leaves`) of node values over the path of each leaf.

    Each is the transpose of the other, and so its gradient.
    """

    @staticmethod
    def forward(
        values: torch.Tensor,
        to_leaves: bool,
        leaves: torch.Tensor,
        position: torch.Tensor,
        first: torch.Tensor,
        last: torch.Tensor,
    ) -> torch.Tensor:
        if to_leaves:
            change = values.new_zeros(len(leaves) + 1, values.shape[1])
            change.index_add_(0, first, values).index_add_(0, last, values, alpha=-1)
            return change.cumsum(dim=0).index_select(0, position)
        total = nn.functional.pad(values.index_select(0, leaves).cumsum(dim=0), (0, 0, 1, 0))
        # not in place: compiled by torch 2.11, a function that returns what it changed has a wrong gradient
        return total.index_select(0, last) - total.index_select(0, first)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.to_leaves = inputs[1]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, grad):
        return _TreeSums.apply(grad, not ctx.to_leaves, *ctx.saved_tensors), None, None, None, None, None


class TreeLayout(nn.Module):
    """Index tensors of a tree with C leaves and N nodes below the root: sums over nodes and paths as running sums.

    The nodes are sorted family by family, families of one size next to each other, so that a softmax among siblings is
    one over an axis. Scores have the classes or nodes along the first dimension: those of a node are contiguous.

    Attributes:
        families: For each size of a family, smallest first, how many there are and the size.

    Examples:
        >>> layout = TreeLayout(ClassHierarchy([3, 3, 4, 4, -1]))
        >>> layout.node_scores(torch.tensor([[1.0], [3.0], [5.0]])).flatten()  # leaf 2, the parent, leaves 0 and 1
        tensor([5., 2., 1., 3.])
    """

    def __init__(self, hierarchy: ClassHierarchy) -> None:
        super().__init__()
        leaves: list[int] = []
        first = [0] * hierarchy.num_nodes
        families: dict[int, list[int]] = {}
        for node in hierarchy.order:
            first[node] = len(leaves)
            if children := hierarchy.children(node):
                families.setdefault(len(children), []).extend(children)
            else:
                leaves.append(node)
        self.families = [(len(members) // size, size) for size, members in sorted(families.items())]
        nodes = [node for _, members in sorted(families.items()) for node in members]
        counts = hierarchy.leaf_counts()
        for name, values in (
            ('leaves', leaves),
            ('position', first[: hierarchy.num_classes]),
            ('first', [first[node] for node in nodes]),
            ('last', [first[node] + counts[node] for node in nodes]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)

    def node_scores(self, leaf_scores: torch.Tensor) -> torch.Tensor:
        """Means (N, B) of the scores (C, B) of each node's leaves."""
        return _TreeSums.apply(leaf_scores, False, *self._index) / (self.last - self.first).unsqueeze(1)

    def path_sums(self, node_values: torch.Tensor) -> torch.Tensor:
        """Sums (C, B) of values (N, B) along the path from each leaf up to, not including, the root."""
        return _TreeSums.apply(node_values, True, *self._index)

    @property
    def _index(self) -> tuple[torch.Tensor, ...]:
        return self.leaves, self.position, self.first, self.last

    def sibling_log_softmax(self, scores: torch.Tensor) -> torch.Tensor:
        """Log-softmax (N, B) of scores (N, B) among the children of each node."""
        groups = scores.split([count * size for count, size in self.families])
        return torch.cat(
            [
                group.view(count, size, -1).log_softmax(dim=1).flatten(0, 1)
                for group, (count, size) in zip(groups, self.families, strict=True)
            ]
        )
