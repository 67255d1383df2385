import csv
import os
import re
import shlex
import shutil

import numpy as np
import pytest

from timm_vipriors.cli import main
from timm_vipriors.inference import ScoreFile, average, held_out_weights, plurality_vote, search, vote, weighted_average

from .score_files import names, random_scores, save

TARGETS = np.random.default_rng(1).integers(6, size=100)
CLASS_NAMES = np.array([f'class {i}' for i in range(6)])
SKILLS = {'a': 1.0, 'b': 2.0, 'c': 0.5}
SCORES = {name: random_scores(100, 6, seed, skill, TARGETS) for seed, (name, skill) in enumerate(SKILLS.items())}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """a.npz, b.npz and c.npz in the working folder, b's rows in another order."""
    monkeypatch.chdir(tmp_path)
    for name, scores in SCORES.items():
        order = np.arange(100)[::-1] if name == 'b' else np.arange(100)
        fields = {'filenames': names(100)[order], 'targets': TARGETS[order], 'class_names': CLASS_NAMES}
        save(tmp_path / f'{name}.npz', scores[order], **fields, model=f'model-{name}')
    return tmp_path


def run(line, capsys, code=0):
    assert main(['ensemble', *shlex.split(line)]) == code
    return capsys.readouterr()


def error(line, capsys):
    done = run(line, capsys, code=2)
    assert done.out == ''
    assert done.err.startswith('timm-vipriors ensemble: error: ')
    assert done.err.count('\n') == 1
    return done.err


def read_csv(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def accuracy(scores):
    return f'{100 * np.mean(scores.argmax(axis=1) == TARGETS):.2f}'


def balanced(scores):
    """The mean of the accuracies of the classes."""
    right = scores.argmax(axis=1) == TARGETS
    return f'{100 * np.mean([right[c == TARGETS].mean() for c in range(6)]):.2f}'


def test_average(files, capsys):
    out = run('average a.npz b.npz:3 c.npz:0.5 -o out.csv --scores-out e.npz --submission s.csv', capsys).out
    expected = weighted_average(list(SCORES.values()), [1, 3, 0.5])

    rows = read_csv('out.csv')
    assert list(rows[0]) == ['filename', 'prediction', 'class_name', 'score', 'target', 'correct']
    assert [row['filename'] for row in rows] == names(100).tolist()
    assert [int(row['prediction']) for row in rows] == expected.argmax(axis=1).tolist()
    assert [row['class_name'] for row in rows] == CLASS_NAMES[expected.argmax(axis=1)].tolist()
    assert [np.float32(row['score']) for row in rows] == expected.max(axis=1).tolist()
    assert [int(row['target']) for row in rows] == TARGETS.tolist()
    assert [int(row['correct']) for row in rows] == (expected.argmax(axis=1) == TARGETS).astype(int).tolist()

    file = ScoreFile.open('e.npz')
    np.testing.assert_array_equal(file.read(), expected, strict=True)
    np.testing.assert_array_equal(file.filenames, names(100))
    np.testing.assert_array_equal(file.targets, TARGETS)
    np.testing.assert_array_equal(file.class_names, CLASS_NAMES)
    assert file.model == 'average of model-a, model-b, model-c'

    lines = (files / 's.csv').read_text().splitlines()
    assert lines[:2] == ['Image IDs,Predictions', f'000.png,{expected[0].argmax()}']
    assert len(lines) == 101

    head, columns, *members, ensemble, gain = out.splitlines()
    assert head == '100 images, 6 classes, targets known for 100'
    assert columns.split() == ['member', 'model', 'weight', 'top-1', 'balanced', 'top-5']
    weights = {'a': '1', 'b': '3', 'c': '0.5'}
    for line, (name, scores) in zip(members, SCORES.items(), strict=True):
        top5 = np.mean([t in np.argsort(-s)[:5] for s, t in zip(scores, TARGETS, strict=True)])
        own = [accuracy(scores), balanced(scores), f'{100 * top5:.2f}']
        assert line.split() == [f'{name}.npz', f'model-{name}', weights[name], *own]
        assert own[0] != own[1]
    assert ensemble.split()[:3] == ['average', accuracy(expected), balanced(expected)]
    best = float(accuracy(SCORES['b']))
    assert gain.startswith(f'gain over b.npz, the best single member here with {best:.2f} %: ')
    points = float(accuracy(expected)) - best
    assert f': {points:+.2f} percentage points, 95 % interval ' in gain
    assert sorted(os.listdir()) == ['a.npz', 'b.npz', 'c.npz', 'e.npz', 'out.csv', 's.csv']


def test_weights_from_held_out_accuracy(files, capsys):
    """VIPF's 3 and 1, by files of the same names: the order of members, images and classes changes nothing."""
    (files / 'held').mkdir()
    targets, classes = np.arange(60) % 6, np.roll(np.arange(6), 1)
    for name, skill in {'a': 0.5, 'b': 1.0, 'c': 4.0}.items():  # others are better than on the images to average
        scores = random_scores(60, 6, ord(name), skill, targets)
        at = np.argsort(classes)[targets]  # the classes in another order
        fields = dict(targets=at, class_names=CLASS_NAMES[classes], filenames=np.array([f'{i}' for i in range(60)]))
        save(files / 'held' / f'{name}.npz', scores[:, classes], **fields)
    weights = {'a': '1', 'b': '3', 'c': '3'}
    for members in ('a b c', 'c b a'):
        out = run(f'average {" ".join(f"{m}.npz" for m in members.split())} --weights-from held', capsys).out
        found = [line.split()[2] for line in out.splitlines()[2:5]]
        assert found == [weights[name] for name in members.split()]
    assert run('average a.npz b.npz c.npz --weights-from held', capsys).out == (
        run('average a.npz:1 b.npz:3 c.npz:3', capsys).out
    )
    held = [str(files / 'held' / f'{name}.npz') for name in 'abc']
    assert held_out_weights(held) == (1, 3, 3)
    assert held_out_weights(held[:2], better=2, rest=0) == (0, 2)
    assert held_out_weights([held[2], str(shutil.copy(held[2], 'same.npz'))]) == (3, 3)


@pytest.mark.parametrize(
    'line, message',
    [
        ('average a.npz:2 b.npz --weights-from held', 'leave out those after the file names'),
        ('average a.npz b.npz --weights-from .', '--weights-from . contains the very files to average'),
        ('average a.npz b.npz --weights-from held', 'there is no file held/b.npz: `timm-vipriors predict` writes one'),
        ('average a.npz --weights-from held', 'weights by accuracy need labelled images, and no file has targets'),
        ('average c.npz a.npz --weights-from held', 'held/a.npz has 5 classes and held/c.npz has 6'),
    ],
)
def test_mistakes_about_held_out_files(files, capsys, line, message):
    (files / 'held').mkdir()
    save(files / 'held' / 'a.npz', random_scores(9, 5))
    save(files / 'held' / 'c.npz', random_scores(9, 6))
    assert message in error(line, capsys)


def test_the_commands_are_functions(files, capsys):
    paths = ['a.npz', 'b.npz', 'c.npz']
    assert run('average a.npz:2 b.npz c.npz:0.5', capsys).out == f'{average(paths, [2, 1, 0.5])}\n'
    assert run('vote --base a.npz b.npz c.npz --threshold 0.5', capsys).out == f'{vote(paths, 0.5)}\n'
    assert run('search a.npz b.npz c.npz --folds 3', capsys).out == f'{search(paths, folds=3)}\n'


@pytest.mark.parametrize('listed', ['a.npz c.npz', 'a.npz ./b.npz c.npz'])
def test_vote(files, capsys, listed):
    out = run(f'vote --base b.npz --threshold 0.6 {listed} -o out.csv --scores-out e.npz', capsys).out
    base, members = SCORES['b'], [SCORES['a'], SCORES['c']]
    expected = plurality_vote(base, members, 0.6)[::-1]  # the base's order
    rows = read_csv('out.csv')
    assert [row['filename'] for row in rows] == names(100)[::-1].tolist()
    assert [int(row['prediction']) for row in rows] == expected.tolist()
    file = ScoreFile.open('e.npz')
    np.testing.assert_array_equal(file.read().argmax(axis=1), expected)
    assert file.model == 'vote of model-b, model-a, model-c'
    before = base.argmax(axis=1) == TARGETS
    after = expected[::-1] == TARGETS
    lines = out.splitlines()
    assert [line.split()[2] for line in lines[2:5]] == ['base', 'votes', 'votes']
    assert lines[2].split()[0] == 'b.npz'
    assert lines[5].split() == ['vote', f'{100 * after.mean():.2f}', balanced(np.eye(6)[expected[::-1]]), '–']
    unsure = (base.max(axis=1) < 0.6).sum()
    changed = (expected[::-1] != base.argmax(axis=1)).sum()
    assert 0 < changed < unsure < 100
    assert lines[6] == (
        f'the vote decided {unsure} of 100 images (base below 0.6) and changed {changed}: '
        f'{(after & ~before).sum()} became right, {(before & ~after).sum()} became wrong'
    )
    assert lines[7].startswith(
        f'gain over the base b.npz: {100 * (after.mean() - before.mean()):+.2f} percentage points'
    )


def test_the_threshold_has_a_default(files, capsys):
    run('vote --base b.npz a.npz c.npz -o out.csv', capsys)
    expected = plurality_vote(SCORES['b'], [SCORES['a'], SCORES['c']], 0.7)[::-1]
    assert [int(row['prediction']) for row in read_csv('out.csv')] == expected.tolist()


def test_a_vote_of_the_base_alone(files, capsys):
    run('vote --base b.npz b.npz -o out.csv', capsys)
    assert [int(row['prediction']) for row in read_csv('out.csv')] == SCORES['b'].argmax(axis=1)[::-1].tolist()


def test_search(files, capsys):
    out = run('search a.npz b.npz c.npz --folds 4 --max-members 6', capsys).out
    *_, gain, command = out.splitlines()
    assert out.split()[:4] == ['member', 'model', 'weight', 'top-1']
    assert 'chosen, accuracy on the images of the selection (optimistic)' in out
    assert 'chosen, accuracy on images not seen (4-fold cross-validation)' in out
    assert gain.startswith('cross-validated gain over b.npz, the best single member here with ')
    words = shlex.split(command)
    assert words[:3] == ['timm-vipriors', 'ensemble', 'average']
    weights = dict(word.split(':') for word in words[3:])
    assert sum(map(int, weights.values())) <= 6
    for name in SCORES:
        (line,) = (line for line in out.splitlines() if line.startswith(f'{name}.npz'))
        assert line.split()[2:] == [weights.get(f'{name}.npz', '–'), accuracy(SCORES[name])]
    again = run(' '.join(words[2:]), capsys).out  # the command gives the accuracy that the search found
    chosen = re.search(r'\(optimistic\) +(\S+)', out)[1]
    assert re.search(r'^average +(\S+)', again, re.MULTILINE)[1] == chosen


def test_search_options(files, capsys):
    outs = {run(f'search a.npz b.npz c.npz {flags}', capsys).out for flags in ('', '--seed 3', '--metric top5')}
    assert len(outs) == 3
    out = run('search a.npz b.npz c.npz --max-members 1', capsys).out
    assert out.splitlines()[-1] == 'timm-vipriors ensemble average b.npz:1'


def test_search_needs_labels(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / 'a.npz', SCORES['a'])
    assert 'a search needs labelled images' in error('search a.npz', capsys)
    save(tmp_path / 'b.npz', SCORES['b'], targets=np.where(np.arange(100) < 80, TARGETS, -1))
    out = run('search a.npz b.npz', capsys).out
    assert '(paired score interval over 80 images)' in out
    assert 'must be in 2 … 80' in error('search a.npz b.npz --folds 81', capsys)


def test_without_targets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in 'ab':
        save(tmp_path / f'{name}.npz', SCORES[name])
    for line in ('average a.npz b.npz -o out.csv', 'vote --base a.npz b.npz -o out.csv --force'):
        out = run(line, capsys).out
        assert 'targets known for 0' in out
        assert all(row.split()[-3:] == ['–', '–', '–'] for row in out.splitlines()[2:5])
        assert 'gain' not in out
        assert 'became' not in out
        rows = read_csv('out.csv')
        assert list(rows[0]) == ['filename', 'prediction', 'class_name', 'score']
        assert rows[0]['class_name'] == ''


def test_some_targets(files, capsys):
    save(files / 'a.npz', SCORES['a'], targets=np.where(np.arange(100) < 40, TARGETS, -1))
    out = run('average a.npz -o out.csv', capsys).out
    assert 'targets known for 40' in out
    assert '(paired score interval over 40 images)' in out
    rows = read_csv('out.csv')
    assert {row['correct'] for row in rows[:40]} == {'0', '1'}
    assert {(row['target'], row['correct']) for row in rows[40:]} == {('', '')}


def test_no_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / 'a.npz', np.zeros((0, 3), np.float32), targets=np.zeros(0, int))
    for line in ('average a.npz', 'vote --base a.npz a.npz'):
        out = run(f'{line} -o out.csv --scores-out e.npz --force', capsys).out
        assert out.startswith('0 images, 3 classes')
        assert len(ScoreFile.open('e.npz')) == 0
        assert read_csv('out.csv') == []


def test_results_of_timm_are_mixed_in_with_their_class_names(files, capsys):
    with open('t.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['filename', *(f'prob_{i}' for i in range(6))])
        writer.writerows([name, *row] for name, row in zip(names(100), SCORES['c'], strict=True))
    assert 't.csv has no class names' in error('average a.npz t.csv -o t.out.csv', capsys)
    (files / 'classes.txt').write_text('\n'.join(CLASS_NAMES))
    run('average a.npz t.csv -o t.out.csv --classes classes.txt', capsys)
    run('average a.npz c.npz -o c.out.csv', capsys)
    ours, theirs = read_csv('c.out.csv'), read_csv('t.out.csv')
    assert [row['prediction'] for row in ours] == [row['prediction'] for row in theirs]


# paths and weights


def test_a_path_with_a_number_at_its_end(files, capsys):
    (files / 'a.npz').rename('a:2')
    lines = [run(f'average {members}', capsys).out.splitlines()[2] for members in ('a:2 b.npz', 'a:2:5 b.npz')]
    assert [line.split()[:3] for line in lines] == [['a:2', 'model-a', '1'], ['a:2', 'model-a', '5']]


@pytest.mark.parametrize(
    'line, message',
    [
        ('average a.npz:0 b.npz:0', 'weights must be finite, not negative and not all 0'),
        ('average a.npz:1.2.3', 'there is no file a.npz:1.2.3'),
        ('average nowhere.npz:2', 'there is no file nowhere.npz: `timm-vipriors predict` writes one\n'),
        ('average a.npz b.npz ./a.npz:3', './a.npz is named twice'),
        ('vote --base b.npz a.npz:3', 'there is no file a.npz:3: only an average has weights'),
        ('vote --base b.npz --threshold 1.5 a.npz', 'the threshold must be in 0 … 1, got 1.5'),
        ('search a.npz --folds 1', 'folds must be in 2 … 100'),
        ('search a.npz --max-members 0', 'at least one member'),
        ('average a.npz -o a.npz --force', 'a.npz is one of the input files'),
        ('average a.npz -o ./x --submission x', 'the output files must have different names'),
        ('average a.npz --scores-out x.csv', 'x.csv: the name of a score file must end in .npz'),
        ('average a.npz -o x.npz', 'x.npz is to be a CSV file'),
        ('vote --base b.npz a.npz --submission x.npz', 'x.npz is to be a CSV file'),
        ('average a.npz -o nowhere/x.csv', 'nowhere/x.csv cannot be written: there is no folder nowhere'),
        ('average a.npz -o . --force', 'is a folder'),
        ('average .', 'Is a directory'),
    ],
)
def test_mistakes(files, capsys, line, message):
    before = sorted(os.listdir())
    assert message in error(line, capsys)
    assert sorted(os.listdir()) == before


def test_files_that_do_not_fit(files, capsys):
    save(files / 'c.npz', SCORES['c'][:99], class_names=CLASS_NAMES)
    assert "c.npz does not have the 100 images of a.npz: missing are '" in error('average a.npz c.npz', capsys)
    np.savez('c.npz', scores=np.log(SCORES['c']), filenames=names(100), class_names=CLASS_NAMES)
    assert 'c.npz: expected probabilities' in error('search a.npz c.npz', capsys)


def test_a_failure_halfway_leaves_nothing(files, capsys, monkeypatch):
    monkeypatch.setattr('timm_vipriors.inference.ensemble.BLOCK_ELEMENTS', 6 * 10)
    scores = SCORES['c'].copy()
    scores[95] = np.nan
    np.savez('c.npz', scores=scores, filenames=names(100), class_names=CLASS_NAMES)
    error('average a.npz c.npz -o out.csv --scores-out e.npz', capsys)
    assert sorted(os.listdir()) == ['a.npz', 'b.npz', 'c.npz']


@pytest.mark.parametrize('flag', ['-o x.csv', '--scores-out x.npz', '--submission x.csv'])
@pytest.mark.parametrize('action', ['average', 'vote --base b.npz'])
def test_nothing_is_overwritten_without_force(files, capsys, flag, action, monkeypatch):
    path = files / flag.split()[1]
    path.write_text('old')
    with monkeypatch.context() as patch:  # it must not have begun to work
        patch.setattr(ScoreFile, 'open', lambda path: pytest.fail('opened'))
        assert f'{path.name} exists: name another file, or overwrite it with --force' in error(
            f'{action} a.npz {flag}', capsys
        )
    assert path.read_text() == 'old'
    run(f'{action} a.npz {flag} --force', capsys)
    assert path.read_bytes() != b'old'


def test_a_submission_needs_different_base_names(files, capsys):
    twice = np.char.replace(names(100), '001.png', '000.png')
    save(files / 'a.npz', SCORES['a'], filenames=twice)
    message = error('average a.npz --submission s.csv -o out.csv', capsys)
    assert '1 name occurs more than once: 000.png' in message
    assert not (files / 'out.csv').exists()
    run('average a.npz -o out.csv', capsys)


def test_names_that_csv_must_quote(files, capsys):
    odd = names(100)
    odd[:4] = ['a,b/"c".png', 'ü/ß\n.png', 'x/\udcff.png', 'z\\.png']
    save(files / 'a.npz', SCORES['a'], filenames=odd)
    run('average a.npz -o out.csv --submission s.csv', capsys)
    with open('out.csv', newline='', encoding='utf-8', errors='surrogateescape') as file:
        assert [row['filename'] for row in csv.DictReader(file)] == odd.tolist()


def test_help(capsys):
    for words in (['ensemble'], ['ensemble', 'average'], ['ensemble', 'vote'], ['ensemble', 'search']):
        with pytest.raises(SystemExit) as e:
            main([*words, '--help'])
        assert e.value.code == 0
    out = ' '.join(capsys.readouterr().out.split())
    for words in ('examples:', 'All scores are loaded into memory', 'share of the votes'):
        assert words in out
