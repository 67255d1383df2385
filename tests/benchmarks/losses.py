"""What the losses cost: tree supervision against a loop over the nodes, and the terms by a ResNet-50 step.

    python tests/benchmarks/losses.py [--classes 10 100 1000 10000] [--batch 64] [--skip-step]

Forward and backward.
"""

import timm
import torch
from side_by_side import Report, alternate, circumstances, make_parser, seconds
from torch import nn

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import CenterLoss, TreeSupervisionLoss, VIPriorsLoss
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


def trees(report: Report, classes: int, batch: int, rounds: int, device: str = 'cpu') -> None:
    """Tree supervision and the loop over the nodes."""
    torch.manual_seed(0)
    tree = ClassHierarchy.induce(torch.randn(classes, 64))
    target = torch.randint(classes, (batch,), device=device)
    logits = torch.randn(batch, classes, device=device, requires_grad=True)
    for mode in ('path', 'soft'):
        loss, loop = TreeSupervisionLoss(tree, mode=mode).to(device), NodeLoop(tree, mode)
        torch.testing.assert_close(loss(logits, target), loop(logits, target))
        sides = {
            'ours': lambda loss=loss: seconds(lambda: loss(logits, target).backward()),
            'loop': lambda loop=loop: seconds(lambda: loop(logits, target).backward()),
        }
        values = alternate(sides, rounds if classes < 10_000 else 1)
        what, asked = f'tree supervision ({mode}), {classes:,} classes', '≥ 30' if classes == 1000 else ''
        names = ('ours', 'a loop over the nodes')
        report.add(what, values['ours'], values['loop'], names=names, asked=asked, times_faster=True)


def steps(report: Report, rounds: int) -> None:
    """A ResNet-50 step with cross-entropy and with the three terms; and the terms alone, by the step."""
    torch.manual_seed(0)
    tree = ClassHierarchy.induce(torch.randn(1000, 64))
    images, labels = torch.randn(16, 3, 224, 224), torch.randint(1000, (16,))

    def step(criterion: nn.Module):
        torch.manual_seed(0)
        model = timm.create_model('resnet50', num_classes=1000).train()
        task = FeatureClassificationTask(model, criterion, verbose=False)
        optimizer = torch.optim.SGD(task.get_trainable_module().parameters(), lr=0.01, momentum=0.9)

        def run() -> None:
            task(images, labels)['loss'].backward()
            optimizer.step()
            optimizer.zero_grad()

        return lambda: seconds(run)

    logits = torch.randn(16, 1000, requires_grad=True)
    features = torch.randn(16, 2048, requires_grad=True)

    def term(loss: nn.Module, *inputs: torch.Tensor):
        return lambda: seconds(lambda: loss(*inputs).backward())

    sides = {
        'cross-entropy': step(nn.CrossEntropyLoss()),
        'all terms': step(VIPriorsLoss(1000, 2048, tree)),
        'tree': term(TreeSupervisionLoss(tree), logits, labels),
        'center': term(CenterLoss(1000, 2048), logits, labels, features),
    }
    values = alternate(sides, rounds)
    whole = values['cross-entropy']
    what = 'ResNet-50 step at 224 pixels, batch 16'
    report.add(what, values['all terms'], whole, names=('all three terms', 'cross-entropy'))
    report.add(f'{what}: tree supervision alone', values['tree'], whole, names=('the term', 'the step'), asked='< 0.05')
    report.add(f'{what}: center loss alone', values['center'], whole, names=('the term', 'the step'))


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument('--classes', type=int, nargs='+', default=[10, 100, 1000, 10_000])
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--skip-step', action='store_true', help='leave the ResNet-50 step out')
    args = parser.parse_args()
    report = Report('Losses', circumstances(f'batch {args.batch}'), args.json)
    for classes in args.classes:
        trees(report, classes, args.batch, args.rounds)
    if not args.skip_step:
        steps(report, args.rounds)
    report.finish()


if __name__ == '__main__':
    main()
