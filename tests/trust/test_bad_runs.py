"""What a training left, from anyone: a report of it, or one sentence."""

from html.parser import HTMLParser

from timm_vipriors.report.runs import read_run

from .cases import ACCEPTED, REFUSED, at_scale, attempt, command, damaged, run_cases

_YAML = [
    *(
        'a: 1',
        'lr: 0.1\nmodel: x',
        '',
        '- a',
        'a: [',
        '? [a]: b',
        'a: 2024-99-99',
        'a: !!timestamp x',
        "a: !!int ''",
        'a: !!bool x',
    ),
    *(
        "a: !!python/object/apply:os.mkdir ['canary']",
        'a: !!float "x"',
        'eval_metric: [1]',
        'eval_metric: loss',
        '1: 2',
        'null: ~',
    ),
    *(
        'a: &x [*x, *x]',
        'a: ' + '[' * 400,
        'a: ' + '9' * 5000,
        'a: "\\ud800"',
        'a: <script>alert(1)</script>',
        'a: .nan',
    ),
]
_CELLS = [
    '',
    'nan',
    'inf',
    '-inf',
    '1e308',
    '-1e308',
    '1e-320',
    'x',
    '1e999',
    '0',
    '-5',
    '1_0',
    '٣',
    '9' * 5000,
    '9' * 30,
    '<b>',
]


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


@at_scale('runs', 60, 1000)
def test_folders_of_runs(number, tmp_path, capsys, monkeypatch):
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
        run, sentence = attempt(lambda: read_run(str(folder)), str(folder))
        code, _, err = command(capsys, ['report', str(folder), '-o', 'report.html', '--force'])
        assert not (tmp_path / 'canary').exists()
        if sentence is not None:
            assert (code, str(folder) in err) == (2, True)
            return REFUSED
        assert code == 0, err
        page = (tmp_path / 'report.html').read_text(encoding='utf-8')
        assert 'script' not in _Tags(page).found
        assert len(run.epochs) >= 1
        return ACCEPTED

    outcomes = run_cases('runs', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0


def test_folders_in_the_place_of_files(tmp_path, capsys):
    (tmp_path / 'args.yaml').mkdir()
    (tmp_path / 'summary.csv').write_text('epoch,train_loss\n0,1\n')
    code, _, err = command(capsys, ['report', str(tmp_path), '-o', str(tmp_path / 'x.html')])
    assert (code, 'args.yaml' in err) == (2, True)
