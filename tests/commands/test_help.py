"""Every command's help: sentences, examples that work, and every default."""

import argparse
import re
import shlex

import pytest

from timm_vipriors.cli import SCRIPTS, main, make_parser
from timm_vipriors.help_formatter import HelpFormatter, default_text
from timm_vipriors.scripts.runner import prepare_script


def walk(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands by their words, the scripts' own among them."""
    parsers = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                words = f'{parser.prog} {name}'
                parsers |= {words: sub, **walk(sub)} if name not in SCRIPTS else {}
    return parsers


PARSERS = walk(make_parser())
LEAVES = [words for words in PARSERS if not any(other.startswith(f'{words} ') for other in PARSERS)]


def find_parser(words: str, monkeypatch) -> argparse.ArgumentParser:
    """The parser of a command, with a device that no machine of ours would have."""
    if words.split()[-1] in SCRIPTS:
        monkeypatch.setattr('timm_vipriors.scripts.runner.default_device', lambda: 'mps')
        return prepare_script(words.split()[-1]).parser
    return make_parser() if words == 'timm-vipriors' else PARSERS[words]


def examples_of(parser: argparse.ArgumentParser) -> list[list[str]]:
    """The command lines in a parser's epilog, as words, without variables before the command."""
    block = parser.epilog.split('examples:\n')[1].split('\n\n')[0].replace('\\\n', '')
    lines = [shlex.split(line) for line in block.splitlines()]
    assert all(lines)
    return [line[1:] if re.fullmatch(r'[A-Z_]+=\S+', line[0]) else line for line in lines]


def test_the_walk_sees_all_commands():
    assert len(PARSERS) == 19
    assert len(LEAVES) == 16
    assert {words for words in PARSERS if words not in LEAVES} == {
        'timm-vipriors hierarchy',
        'timm-vipriors ensemble',
        'timm-vipriors recipe',
    }


@pytest.mark.parametrize('words', ['timm-vipriors', *PARSERS, *(f'timm-vipriors {name}' for name in SCRIPTS)])
def test_help(words, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    parser = find_parser(words, monkeypatch)
    assert re.match(r'[A-Z].*[.:]', parser.description, re.DOTALL)
    text = parser.format_help()
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for noise in ('default: None', 'default: False', 'default: )', 'default: {}', 'default: []'):
        assert noise not in ' '.join(text.split())
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert all(sub.help for sub in action._choices_actions)
            continue
        assert action.help, action
        shown = parser._get_formatter()._expand_help(action)
        assert shown.count('default') <= 1
        takes_value = action.nargs != 0 and action.default not in (None, '', {}, argparse.SUPPRESS)
        if takes_value and action.default is not False:
            default = action.default
            for value in default if isinstance(default, list) else [default]:
                assert f'{value:g}' in shown if isinstance(value, float) else str(value) in shown, shown


@pytest.mark.parametrize('name', SCRIPTS)
def test_help_of_timms_scripts_tells_all_defaults(name, timm_scripts, monkeypatch):
    parser = find_parser(f'timm-vipriors {name}', monkeypatch)
    own_words = added = 0
    for action in parser._actions:
        if default_text(action) is None or not action.help:  # some of timm's have no help
            continue
        shown = parser._get_formatter()._expand_help(action)
        assert 'default' in shown.lower()
        own_words += shown == action.help % vars(action)
        added += shown.endswith(f'(default: {default_text(action)})') and 'default' not in action.help
    assert own_words > 3
    assert added > 1


def test_default_of_every_kind_of_argument():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    for default, text in (
        (0, '0'),
        (0.0, '0.0'),
        ('x', 'x'),
        ('50%', '50%'),
        ([0.08, 1.0], '0.08 1'),
        ((3, 4), '3 4'),
        (True, 'True'),
        (None, None),
        (False, None),
        ('', None),
        ([], None),
        ({}, None),
        (argparse.SUPPRESS, None),
    ):
        action = add(f'--a{len(parser._actions)}', default=default, help='about it')
        assert default_text(action) == text
        shown = HelpFormatter('p')._expand_help(action)
        assert shown == ('about it' if text is None else f'about it (default: {text})')
    assert default_text(add('--switch', action='store_false', help='off')) is None
    assert HelpFormatter('p')._expand_help(add('--own', default=3, help='own words (default: three)')) == (
        'own words (default: three)'
    )


def test_paragraphs_are_wrapped_and_examples_are_not():
    long = 'word ' * 30
    parser = argparse.ArgumentParser(
        prog='p', formatter_class=lambda prog: HelpFormatter(prog, width=40), epilog=f'{long}\n\nexamples:\n  {long}x'
    )
    text = parser.format_help()
    assert f'  {long}x' in text
    assert f'\n{("word " * 8).strip()}\n' in text


def test_flags_are_not_cut_at_their_hyphens():
    paragraph = 'word word word word word --a-flag-of-many-words'
    parser = argparse.ArgumentParser(
        prog='p', formatter_class=lambda prog: HelpFormatter(prog, width=40), epilog=paragraph
    )
    parser.add_argument('--of-some-length', help='about words with --two-more-words-in')
    text = parser.format_help()
    assert '\n--a-flag-of-many-words' in text
    assert ' --two-more-words-in\n' in text


@pytest.mark.parametrize('words', [*LEAVES, *(f'timm-vipriors {name}' for name in SCRIPTS)])
def test_examples_parse(words, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    parser = find_parser(words, monkeypatch)
    own = [line for line in examples_of(parser) if ' '.join(line).startswith(f'{words} ') or line == words.split()]
    assert own
    for line in own:
        parse(line, monkeypatch)


@pytest.mark.parametrize('words', ['timm-vipriors', *sorted(set(PARSERS) - set(LEAVES))])
def test_examples_of_groups_parse(words, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    examples = examples_of(find_parser(words, monkeypatch))
    for line in examples:
        parse(line, monkeypatch)
    if words != 'timm-vipriors':
        for leaf in LEAVES:
            if leaf.startswith(words):
                assert any(' '.join(line).startswith(leaf) for line in examples), leaf


def parse(line: list[str], monkeypatch) -> None:
    """Parse an example with the real parser."""
    assert line[0] == 'timm-vipriors' or line[0] == 'export'
    if line[0] == 'export':
        return
    if line[1] in SCRIPTS:
        parser, words = prepare_script(line[1]).parser, line[2:]
    else:
        parser, words = make_parser(), line[1:]
    try:
        args, others = parser.parse_known_args(words)
    except SystemExit as e:
        assert e.code == 0 and words[-1] == '--help', line
    else:
        assert not others or hasattr(args, 'other_flags'), line


def test_an_example_that_does_not_parse_is_seen(monkeypatch):
    with pytest.raises(AssertionError):
        parse(['timm-vipriors', 'demo-data', 'digits', '--nonsense'], monkeypatch)
    with pytest.raises(AssertionError):
        parse(['timm-vipriors', 'subset'], monkeypatch)
    with pytest.raises(AssertionError):
        parse(['timm-vipriors', 'train', '--epochs', 'many'], monkeypatch)


@pytest.mark.parametrize('name', SCRIPTS)
def test_scripts_have_our_texts(name, scripts, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    with pytest.raises(SystemExit) as e:
        main([name, '--help'])
    assert e.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f'usage: timm-vipriors {name} DIR --model NAME [flags]\n')
    assert f'examples:\n  timm-vipriors {name} DATA ' in out
    assert 'TIMM_SCRIPTS' in out
    assert re.search(r'--workers N +[^-]*\(default: 4\)', out)
