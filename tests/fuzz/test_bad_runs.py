"""Folders of runs from anyone: a report, or one sentence."""

import pytest

from timm_vipriors.errors import UserError
from timm_vipriors.report import build_report, read_run

from .cases import ACCEPTED, REFUSED, at_scale, attempt, damaged, run_cases

# fmt: off
_YAML = [
    'a: 1', 'lr: 0.1\nmodel: x', '', '- a', 'a: [', '? [a]: b', 'a: 2024-99-99', 'a: !!timestamp x', "a: !!int ''",
    'a: !!bool x', "a: !!python/object/apply:os.mkdir ['canary']", 'a: !!float "x"', 'eval_metric: [1]',
    'eval_metric: loss', '1: 2', 'null: ~', 'a: &x [*x, *x]', 'a: ' + '[' * 400, 'a: ' + '9' * 5000,
    'a: "\\ud800"', 'a: <script>alert(1)</script>', 'a: .nan',
]
_CELLS = [
    '', 'nan', 'inf', '-inf', '1e308', '-1e308', '1e-320', 'x', '1e999', '0', '-5', '1_0', '٣', '9' * 5000, '9' * 30,
    '<b>',
]
# fmt: on


@pytest.mark.slow
@at_scale(60, 1000)
def test_folders_of_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'run'
    folder.mkdir()

    def check(rng) -> str:
        rows = [[str(epoch), *(f'{rng.random():.3f}' for _ in range(3))] for epoch in range(rng.randrange(4))]
        if rows and rng.random() < 0.5:
            row = rng.choice(rows)
            row[rng.randrange(len(row))] = rng.choice(_CELLS)
        text = '\n'.join(','.join(row) for row in [['epoch', 'train_loss', 'eval_top1', 'lr'], *rows]).encode()
        (folder / 'summary.csv').write_bytes(damaged(rng, text) if rng.random() < 0.2 else text)
        settings = rng.choice(_YAML).encode()
        (folder / 'args.yaml').write_bytes(damaged(rng, settings) if settings and rng.random() < 0.2 else settings)
        run, sentence = attempt(lambda: read_run(folder), str(folder))
        assert not (tmp_path / 'canary').exists()
        if sentence is not None:
            return REFUSED
        assert len(run.epochs) >= 1
        if rng.random() < 0.1:
            assert '<script' not in build_report([folder])
        return ACCEPTED

    outcomes = run_cases('runs', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0


def test_folders_in_the_place_of_files(tmp_path):
    (tmp_path / 'args.yaml').mkdir()
    (tmp_path / 'summary.csv').write_text('epoch,train_loss\n0,1\n')
    with pytest.raises(UserError, match=r'args\.yaml'):
        read_run(tmp_path)
