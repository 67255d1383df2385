"""What the losses cost: tree supervision against a loop over the nodes, and the composite by a ResNet-50 step.

    python tests/benchmarks/losses.py [--classes 1000] [--batch 64] [--rounds 5] [--skip-step]

Forward and backward, the two sides in turn in one process; prints medians and the ratios of each round.
"""

import argparse
import statistics
import time

import timm
import torch
from torch import nn

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import TreeSupervisionLoss, VIPriorsLoss
from timm_vipriors.task import FeatureClassificationTask


class NodeLoop(nn.Module):
    """Tree supervision as its equations read: a mean for each node, a softmax for each family, a sum for each class."""

    def __init__(self, tree: ClassHierarchy, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.leaves = [[] for _ in range(tree.num_nodes)]
        self.paths = [list(tree.path(leaf)) for leaf in range(tree.num_classes)]
        self.families = [tree.children(node) for node in range(tree.num_nodes) if tree.children(node)]
        for leaf, path in enumerate(self.paths):
            for node in path:
                self.leaves[node].append(leaf)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # an index of one element gives a view, the cheapest that a loop can do for a leaf
        values = [output[:, ls[0]] if len(ls) == 1 else output[:, ls].mean(1) if ls else None for ls in self.leaves]
        if self.mode == 'soft':
            for family in self.families:
                log_p = torch.stack([values[child] for child in family]).log_softmax(0)
                for child, value in zip(family, log_p, strict=True):
                    values[child] = value
        classes = torch.stack([torch.stack([values[n] for n in path]).sum(0) for path in self.paths], dim=1)
        loss = nn.functional.nll_loss if self.mode == 'soft' else nn.functional.cross_entropy
        return loss(classes, target)


def seconds(fn) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def compare(name: str, a, b, rounds: int) -> None:
    pairs = [(seconds(a), seconds(b)) for _ in range(rounds + 1)][1:]  # the first is warm-up
    ratios = sorted(y / x for x, y in pairs)
    print(
        f'{name}: {statistics.median(x for x, _ in pairs) * 1e3:.2f} ms and '
        f'{statistics.median(y for _, y in pairs) * 1e3:.2f} ms, ratio {statistics.median(ratios):.3g} '
        f'({ratios[0]:.3g} to {ratios[-1]:.3g})'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--skip-step', action='store_true', help='leave the ResNet-50 step out')
    args = parser.parse_args()
    print(f'timm {timm.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads')

    torch.manual_seed(0)
    tree = ClassHierarchy.induce(torch.randn(args.classes, 64))
    target = torch.randint(args.classes, (args.batch,))
    logits = torch.randn(args.batch, args.classes, requires_grad=True)
    for mode in ('path', 'soft'):
        loss, loop = TreeSupervisionLoss(tree, mode=mode), NodeLoop(tree, mode)
        torch.testing.assert_close(loss(logits, target), loop(logits, target))
        compare(
            f'tree supervision ({mode}) and the loop, {args.classes} classes, batch {args.batch}',
            lambda loss=loss: loss(logits, target).backward(),
            lambda loop=loop: loop(logits, target).backward(),
            args.rounds,
        )
    if args.skip_step:
        return

    def step(criterion: nn.Module):
        torch.manual_seed(0)
        model = timm.create_model('resnet50', num_classes=1000).train()
        task = FeatureClassificationTask(model, criterion, verbose=False)
        optimizer = torch.optim.SGD(task.get_trainable_module().parameters(), lr=0.01, momentum=0.9)
        images, labels = torch.randn(16, 3, 224, 224), torch.randint(1000, (16,))

        def run() -> None:
            task(images, labels)['loss'].backward()
            optimizer.step()
            optimizer.zero_grad()

        return run

    tree = ClassHierarchy.induce(torch.randn(1000, 64))
    compare(
        'ResNet-50 step at 224 pixels, batch 16, with cross-entropy and with all three terms',
        step(nn.CrossEntropyLoss()),
        step(VIPriorsLoss(1000, 2048, tree)),
        args.rounds,
    )


if __name__ == '__main__':
    main()
