import copy
import random

import pytest
import torch
from timm.layers import DropPath, convert_splitbn_model
from torch import nn

from timm_vipriors.layers import DualBranch


class Times(nn.Module):
    """Multiplies by a learned factor and remembers the batches it saw."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor), dtype=torch.float64))
        self.seen = []

    def forward(self, x):
        self.seen.append(x.shape[0])
        return x * self.factor


def make_branch(**kwargs):
    return DualBranch(Times(10.0), Times(100.0), **kwargs)


def batch(size):
    return torch.arange(1.0, size + 1, dtype=torch.float64).view(size, 1, 1, 1).expand(size, 2, 3, 3).clone()


def routes(output, x):
    """Which unit each sample went through: 10 or 100, checked on every pixel."""
    factor = (output - x) / x
    assert (factor == factor[:, :1, :1, :1]).all()
    return factor[:, 0, 0, 0].round().long().tolist()


def test_inference_is_the_mean_of_both_units():
    branch = make_branch().eval()
    x = batch(5)
    torch.testing.assert_close(branch(x), x + 0.5 * (10 * x + 100 * x))
    assert torch.equal(branch(x), branch(x))


@pytest.mark.parametrize('size', [2, 3, 4, 5, 8, 9])
def test_training_is_balanced_and_keeps_each_sample_in_its_place(size):
    branch = make_branch()
    x = batch(size)
    counts = set()
    for seed in range(20):
        torch.manual_seed(seed)
        taken = routes(branch(x), x)
        assert set(taken) <= {10, 100}
        counts.add(taken.count(10))
    assert counts == {size // 2, (size + 1) // 2}  # for odd batches either side gets the odd one


def test_batch_of_one_goes_to_either_unit():
    branch = make_branch()
    x = batch(1)
    assert {routes(branch(x), x)[0] for _ in range(40)} == {10, 100}


@pytest.mark.parametrize(('size', 'each'), [(4, 2), (8, 4), (9, 5), (3, 3), (1, 1)])
def test_units_compute_half_of_the_batch(size, each):
    branch = make_branch()
    branch(batch(size))
    assert branch.unit1.seen == branch.unit2.seen == [each]


@pytest.mark.parametrize('size', [3, 8, 9])
def test_every_sample_takes_both_ways_equally_often(size):
    torch.manual_seed(0)
    branch = make_branch()
    x = batch(size)
    draws = 600
    first = torch.zeros(size)
    together = 0
    for _ in range(draws):
        taken = torch.tensor(routes(branch(x), x))
        first += taken == 10
        together += int(taken[0] == taken[1])
    # five standard deviations of a binomial
    assert ((first / draws - 0.5).abs() < 5 * 0.5 / draws**0.5).all()
    assert 0.05 < together / draws < 0.7  # neighbours are not tied to one another


def test_draws_differ_between_calls_and_follow_torchs_seed_alone():
    branch = make_branch()
    x = batch(16)
    state = random.getstate()
    torch.manual_seed(3)
    a, b = branch(x), branch(x)
    torch.manual_seed(3)
    again = branch(x)
    assert torch.equal(a, again)
    assert not torch.equal(a, b)
    assert random.getstate() == state


@pytest.mark.parametrize('size', [2, 3, 6, 7])
def test_gradients_are_those_of_a_loop_over_the_samples(size):
    branch = make_branch()
    x = batch(size).requires_grad_()
    weights = torch.rand(size, 2, 3, 3, dtype=torch.float64)
    torch.manual_seed(size)
    output = branch(x)
    (output * weights).sum().backward()

    taken = routes(output.detach(), x.detach())
    sample_sums = (x.detach() * weights).sum(dim=(1, 2, 3))
    for unit, factor in ((branch.unit1, 10), (branch.unit2, 100)):
        expected = sum(s for s, t in zip(sample_sums, taken, strict=True) if t == factor)
        torch.testing.assert_close(unit.factor.grad, torch.as_tensor(expected, dtype=torch.float64))
    scale = torch.tensor(taken, dtype=torch.float64).view(-1, 1, 1, 1) + 1
    torch.testing.assert_close(x.grad, weights * scale)


@pytest.mark.parametrize('size', [3, 4, 5])
def test_gradcheck(size):
    branch = DualBranch(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)).double()
    x = torch.randn(size, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def run(x, *_):
        torch.manual_seed(1)
        return branch(x)

    inputs = (x, *branch.parameters())
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('size', [2, 4])
def test_the_sum_has_the_wider_type_and_leaves_its_input_alone(size, training):
    branch = DualBranch(nn.Conv2d(2, 2, 1).bfloat16(), nn.Conv2d(2, 2, 1).bfloat16()).train(training)
    branch.unit1.register_forward_pre_hook(lambda module, args: args[0].bfloat16())
    branch.unit2.register_forward_pre_hook(lambda module, args: args[0].bfloat16())
    x = torch.randn(size, 2, 3, 3)
    before = x.clone()
    output = branch(x)
    assert output.dtype == torch.float32
    assert torch.equal(x, before)
    alike = DualBranch(nn.Identity(), nn.Identity()).train(training)
    assert torch.equal(alike(x), 2 * x)
    assert torch.equal(x, before)


class Unit(nn.Module):
    """A unit with a BatchNorm, and what that sees of samples that are numbered by their values."""

    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x):
        self.seen = x[:, 0, 0, 0].long().tolist()
        return 1 + self.bn(x)


@pytest.mark.parametrize(('splits', 'size'), [(2, 4), (2, 6), (3, 4), (2, 5), (2, 2)])
def test_split_batchnorm_sees_the_parts_of_the_batch_apart(splits, size):
    branch = convert_splitbn_model(DualBranch(Unit(), Unit()), splits)
    x = torch.arange(splits * size, dtype=torch.float32).view(-1, 1, 1, 1)
    sides = set()
    for seed in range(10):
        torch.manual_seed(seed)
        y = branch(x)
        for unit in (branch.unit1, branch.unit2):
            each = len(unit.seen) // splits
            assert each == (size // 2 if size in (4, 6) else size)  # the whole batch where it cannot be halved
            assert [i // size for i in unit.seen] == [part for part in range(splits) for _ in range(each)]
        together = branch.unit1.seen + branch.unit2.seen
        assert sorted(together) == sorted(list(range(splits * size)) * (2 * each // size))
        sides.add(tuple(branch.unit1.seen))
        # each result is in its sample's place: normalised within its part of its unit
        for unit in (branch.unit1, branch.unit2) if each < size else ():
            seen = torch.tensor(unit.seen, dtype=torch.float32).view(splits, -1)
            normed = (seen - seen.mean(1, keepdim=True)) / (seen.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            torch.testing.assert_close((y - x).flatten()[seen.flatten().long()], 1 + normed.flatten())
    assert len(sides) > 1 or each == size


def test_shortcut_and_drop_path():
    branch = make_branch(shortcut=Times(-1.0), drop_path=DropPath(0.5)).train()
    x = batch(64)
    torch.manual_seed(0)
    factor = ((branch(x) + x) / x)[:, 0, 0, 0]
    assert set(factor.tolist()) == {0.0, 20.0, 200.0}  # dropped, or scaled by 1 / (1 - 0.5)
    torch.testing.assert_close(branch.eval()(x), -x + 55 * x)


def test_memory_format_is_kept():
    branch = DualBranch(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)).to(memory_format=torch.channels_last)
    x = torch.randn(8, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    for size in (8, 7, 2):
        assert branch(x[:size]).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('size', [2, 3, 8, 9])
def test_compiles_without_graph_break(size):
    torch._dynamo.reset()
    branch = DualBranch(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    compiled = torch.compile(branch, fullgraph=True, backend='aot_eager')
    x = torch.randn(size, 2, 3, 3)
    torch.manual_seed(0)
    expected = branch(x)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x), expected)
    compiled(x).sum().backward()
    assert all(p.grad is not None for p in branch.parameters())


def test_fuse_of_units_that_cannot_be_merged_warns_and_changes_nothing():
    branch = DualBranch(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    with pytest.warns(UserWarning, match='left unfused: .*Conv2d'):
        assert branch.fuse() is branch


def test_deepcopy_and_pickle(tmp_path):
    branch = DualBranch(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)).eval()
    x = torch.randn(3, 2, 4, 4)
    torch.save(branch, tmp_path / 'branch.pt')
    for other in (copy.deepcopy(branch), torch.load(tmp_path / 'branch.pt', weights_only=False)):
        assert torch.equal(other(x), branch(x))
