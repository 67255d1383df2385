"""Every flag of every subcommand with hostile values, in process: exit code 0 or 2, never another exception."""

import argparse
import os
import random

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from timm_vipriors import cli
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.recipes import ablation
from timm_vipriors.scripts import runner

from ..inference.score_files import names, random_scores, save
from .cases import ACCEPTED, REFUSED, at_scale, command, run_cases

pytestmark = pytest.mark.usefixtures('one_thread')

# fmt: off
_HOSTILE = [
    '', ' ', '0', '-1', '1', '2', '3.5', '1e999', 'nan', 'inf', '-inf', '99999999999999999999', '2147483648', '-0',
    '1e-320', 'None', 'true', '../..', 'ü😀', 'a\nb', 'not\udcffutf8', 'x' * 5000, '-', '-x', '=', 'a=b', ',',
    '$(touch CANARY)', '`touch CANARY`', ';touch CANARY', "'", '"', '%s', '{}', '%(prog)s', '\x1b[31m', '@file', '*',
    '٣', '²', '0x10', '1_0', 'train=1', 'train=50%', 'train=0', 'x=1,x=2', 'none', 'randaug:0', 'randaug:9', 'ten-crop',
    'cpu', 'cuda', 'meta', 'mps:7', 'nonsense:9', 'resnet18', 'test_dsk_resnext', 'dsk_resnext50_32x4d', 'all', ':',
]
# fmt: on


@pytest.fixture(scope='module')
def things(tmp_path_factory):
    """Small right things to start from, by name."""
    root = tmp_path_factory.mktemp('things')
    for split in ('train', 'validation'):
        for label in ('a', 'b'):
            folder = root / 'data' / split / label
            folder.mkdir(parents=True)
            for i in range(3):
                Image.new('RGB', (32, 32), (i * 40, 0, 0)).save(folder / f'{i}.png')
    model = timm.create_model('test_dsk_resnext', num_classes=2)
    content = {
        'state_dict': model.state_dict(),
        'arch': 'test_dsk_resnext',
        'args': argparse.Namespace(num_classes=2, img_size=32),
    }
    torch.save(content, root / 'model.pth.tar')
    targets = np.array([0, 1, 2, 3, 4, 0])
    for name, seed in (('one', 1), ('two', 2)):
        save(root / f'{name}.npz', random_scores(6, 5, seed), filenames=names(6), targets=targets)
    ClassHierarchy.from_groups({'a': ['x'], 'b': ['x'], 'c': []}).save(root / 'tree.json')
    (root / 'groups.json').write_text('{"a": ["x"], "b": ["x"], "c": []}')
    (root / 'edges.txt').write_text('x a\nx b\nroot x\nroot c\n')
    (root / 'classes.txt').write_text('a\nb\nc\n')
    (root / 'run').mkdir()
    (root / 'run' / 'summary.csv').write_text('epoch,train_loss,eval_top1,lr\n0,1.5,10,0.1\n1,1.2,20,0.05\n')
    (root / 'run' / 'args.yaml').write_text('model: x\nlr: 0.1\n')
    (root / 'script.py').write_text('import sys\nassert len(sys.argv) >= 1\n')
    (root / 'folder').mkdir()
    (root / 'folder' / 'precious.txt').write_text('precious')
    os.mkfifo(root / 'pipe')
    return root


def _bases(root) -> dict[tuple[str, ...], list[str]]:
    """A right command line for each subcommand, without what follows in a case."""
    one, two, data = str(root / 'one.npz'), str(root / 'two.npz'), str(root / 'data')
    return {
        ('demo-data',): ['DST', '--size', '8'],
        ('subset',): [f'{data}/train', 'DST', '--per-class', '1'],
        ('suggest',): [data, '--minutes', '0.1', '--device', 'cpu'],
        ('hierarchy', 'induce'): [str(root / 'model.pth.tar'), '-o', 'DST'],
        ('hierarchy', 'show'): [str(root / 'tree.json')],
        ('hierarchy', 'groups'): [str(root / 'groups.json'), '-o', 'DST'],
        ('hierarchy', 'edges'): [str(root / 'edges.txt'), '-o', 'DST', '--classes', str(root / 'classes.txt')],
        ('hierarchy', 'wordnet'): [str(root / 'classes.txt'), '-o', 'DST'],
        ('predict',): [data, *f'--checkpoint {root}/model.pth.tar -o DST --workers 0 --device cpu'.split()],
        ('ensemble', 'average'): [one, two, '-o', 'DST'],
        ('ensemble', 'vote'): [two, '--base', one, '-o', 'DST'],
        ('ensemble', 'search'): [one, two],
        ('report',): [one, str(root / 'run'), '-o', 'DST'],
        ('recipe', 'list'): [],
        ('recipe', 'show'): ['quickstart'],
        ('recipe', 'copy'): ['quickstart', 'DST'],
        ('ablation',): [data, '--rows', 'resnext50_32x4d', '--seeds', '1', '-o', 'DST'],
        ('doctor',): [],
    }


def _parsers(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()):
    """The parsers that do something, by their words on the command line."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield words, parser
    for action in inner:
        for name, below in action.choices.items():
            yield from _parsers(below, (*words, name))


def _flags() -> dict[tuple[str, ...], list[argparse.Action]]:
    found = {}
    for words, parser in _parsers(cli.make_parser()):
        if words[0] not in cli.SCRIPTS:
            found[words] = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
    return found


def test_there_is_a_base_for_every_subcommand(things):
    # a shell and a script get what follows as it is: see test_shell, and below
    assert set(_flags()) - set(_bases(things)) == {('recipe', 'run'), ('run',)}


@pytest.fixture
def safe(monkeypatch, tmp_path):
    """No training is started, nothing is asked of a network, and what is written lies in the test's folder."""
    monkeypatch.setattr(ablation, 'run_trainings', lambda trainings, *_: [])
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setenv('DRY_RUN', '1')
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    folder = tmp_path / 'deep' / 'er' / 'cwd'
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def _hostile(rng: random.Random, root) -> str:
    names = ('folder', 'one.npz', 'missing/x', 'one.npz/x', 'tree.json', 'data')
    return rng.choice([*_HOSTILE, *(str(root / name) for name in names)])


def _line(rng: random.Random, words: tuple[str, ...], actions: list[argparse.Action], root) -> list[str]:
    """A right command line with one or two flags or arguments made hostile."""
    argv = [*_bases(root)[words]]
    ending = '.npz' if rng.random() < (0.9 if words == ('predict',) else 0.3) else ''
    argv = [f'made-{rng.random()}{ending}' if word == 'DST' else word for word in argv]
    for _ in range(rng.choice([1, 1, 2])):
        flags = [action for action in actions if action.option_strings]
        if flags and rng.random() < 0.8:
            action = rng.choice(flags)
            name = rng.choice(action.option_strings)
            if action.nargs == 0:
                argv.append(name)
            elif rng.random() < 0.5 and name.startswith('--'):
                argv.append(f'{name}={_hostile(rng, root)}')
            else:
                number = action.nargs if isinstance(action.nargs, int) else rng.choice([1, 1, 1, 2, 0])
                argv += [name, *(_hostile(rng, root) for _ in range(number))]
        elif argv and rng.random() < 0.8:
            argv[rng.randrange(len(argv))] = _hostile(rng, root)
        else:
            argv.append(_hostile(rng, root))
    return [*words, *argv]


def _kept(root) -> dict[str, bytes]:
    """What no command line of the cases names as a file to write, so that not even --force may touch it."""
    return {str(path): path.read_bytes() for path in (*root.glob('data/**/*.png'), root / 'folder' / 'precious.txt')}


@at_scale(150, 3000)
def test_hostile_flags(number, things, safe, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, 'run', lambda *_: 0)  # of suggest --run
    flags = {words: actions for words, actions in _flags().items() if words in _bases(things)}
    # seconds and not milliseconds
    slow = {('demo-data',): 0.9, ('predict',): 0.25, ('suggest',): 0.15, ('ablation',): 0.3, ('doctor',): 0.05}
    codes = {words: set() for words in flags}
    before = _kept(things)

    def check(rng) -> str:
        words = rng.choice(list(flags))
        if rng.random() > slow.get(words, 1):
            words = ('ensemble', 'average')
        argv = _line(rng, words, flags[words], things)
        if '--workers' in argv or '-j' in argv or '--seeds' in argv:
            argv = [word for word in argv if not word.startswith('2147')]  # that is what it says, and takes as long
        argv = [word for word in argv if word != '--torchcompile']  # takes as long as it takes
        code, _, _ = command(capsys, argv)
        codes[words].add(code)
        return REFUSED if code else ACCEPTED

    outcomes = run_cases('command lines', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > number / 10
    if number >= 1000:
        rare = {('doctor',), ('recipe', 'list')}  # which have next to nothing to be made wrong
        assert not [words for words, seen in codes.items() if 0 not in seen and words not in rare]
        assert not [words for words, seen in codes.items() if 2 not in seen and words not in rare]
    assert _kept(things) == before  # inputs are as they were
    assert not list(tmp_path.rglob('CANARY'))
    assert {path.name for path in tmp_path.iterdir()} == {'deep'}  # '../..' is where a case may write


@at_scale(60, 1500)
def test_hostile_flags_of_the_scripts(number, things, safe, capsys):
    """Before a script starts: the data folder is not there, so whatever passes the flags is refused then."""
    parsers = {name: runner.load_script(runner.find_script(name)).parser for name in cli.SCRIPTS}
    runner.add_our_options(parsers['train'])
    actions = {
        name: [a for a in parser._actions if a.option_strings and not isinstance(a, argparse._HelpAction)]
        for name, parser in parsers.items()
    }

    def check(rng) -> str:
        name = rng.choice(list(cli.SCRIPTS))
        argv = [name, str(things / 'missing'), '--model', 'test_dsk_resnext', '--device', 'cpu']
        for _ in range(rng.choice([1, 2])):
            action = rng.choice(actions[name])
            flag = rng.choice(action.option_strings)
            argv.append(flag)
            if action.nargs != 0:
                argv += [_hostile(rng, things) for _ in range(action.nargs if isinstance(action.nargs, int) else 1)]
        code, _, _ = command(capsys, argv)
        assert code == 2, argv
        return REFUSED

    run_cases('flags of the scripts', number, check)


@pytest.mark.parametrize(
    'name', ['', ' ', '.', '..', 'missing', 'a/b', 'x' * 5000, 'not\udcffutf8', '*', '--', '%s', 'a\nb']
)
@pytest.mark.parametrize('scripts', [None, '', 'missing', '.'])
def test_scripts_that_there_are_not(things, safe, capsys, monkeypatch, scripts, name):
    if scripts is not None:
        monkeypatch.setenv('TIMM_SCRIPTS', scripts)
    assert command(capsys, ['run', name])[0] == 2
    assert command(capsys, ['recipe', 'run', name])[0] == 2


# --- what the cases above have found, one by one


@pytest.mark.parametrize(
    ('argv', 'sentence'),
    [
        ('demo-data new --seed -1', '--seed must be at least 0'),
        ('demo-data {root}/one.npz/x', 'File exists'),
        ('recipe copy quickstart {root}/one.npz/x', 'Not a directory'),
        ('ablation {root}/data --rows resnext50_32x4d -o {root}/one.npz', 'is no folder'),
        ('ablation {root}/data --rows resnext50_32x4d -o new --seeds 99999999999', '--seeds'),
        ('predict {root}/data --checkpoint {root}/model.pth.tar -o new.npz --model-kwargs x', 'expected key=value'),
        ('predict {root}/data --checkpoint x -o new.npz --device nonsense', '--device nonsense cannot be'),
        ('predict {root}/data --checkpoint {root}/model.pth.tar -o {root}/folder --force', 'is a folder'),
        ('predict {root}/data --checkpoint x -o new.npz --classes {root}/one.npz', 'class names cannot be'),
        ('report {root}/run -o {root}/pipe --force', 'not a regular file'),
        ('ensemble average {root}/one.npz {root}/two.npz --output=', 'name a file to write'),
    ],
)
def test_mistakes_that_were_no_sentences(things, safe, capsys, argv, sentence):
    code, _, err = command(capsys, argv.format(root=things).split())
    assert (code, sentence in err) == (2, True), err


def test_output_of_names_that_are_no_text(things, safe, capsys):
    """What is printed of a file name that is not in UTF-8 has escapes, and the work is done."""
    name = 'not\udcffutf8.npz'
    os.symlink(things / 'one.npz', name)
    code, out, _ = command(capsys, ['ensemble', 'average', name, str(things / 'two.npz'), '-o', 'x\udcff.csv'])
    assert code == 0
    assert 'not\\udcffutf8.npz' in out
    assert os.path.exists('x\udcff.csv')


def test_a_pipe_is_not_replaced(things, safe, capsys):
    for argv in (
        f'ensemble average {things}/one.npz -o {things}/pipe --force',
        f'hierarchy show {things}/tree.json --png {things}/pipe --force',
    ):
        assert command(capsys, argv.split())[0] == 2
    assert (things / 'pipe').is_fifo()
