"""Every command's help: sentences, defaults, and examples that parse."""

import argparse
import re
import shlex

import pytest

from timm_vipriors.cli import SCRIPTS, main, make_parser
from timm_vipriors.help_formatter import HelpFormatter
from timm_vipriors.scripts.runner import prepare_script


def walk(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands by their words, but those of the scripts."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    children = {sub.prog: sub for group in groups for name, sub in group.choices.items() if name not in SCRIPTS}
    return {parser.prog: parser} | {words: found for sub in children.values() for words, found in walk(sub).items()}


PARSERS = walk(make_parser())
WORDS = [*PARSERS, *(f'timm-vipriors {name}' for name in SCRIPTS)]


def find_parser(words: str) -> argparse.ArgumentParser:
    return PARSERS[words] if words in PARSERS else prepare_script(words.split()[1]).parser


@pytest.fixture(autouse=True)
def no_checkout(monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.setenv('COLUMNS', '80')


@pytest.mark.parametrize('words', WORDS)
def test_help_has_sentences_and_defaults(words):
    parser = find_parser(words)
    assert re.match(r'[A-Z].*[.:]', parser.description, re.DOTALL)
    text = parser.format_help()
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for noise in ('None', 'False', ')', '{}', '[]'):
        assert f'(default: {noise}' not in ' '.join(text.split())
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert all(sub.help for sub in action._choices_actions)
            continue
        assert action.help, action
        shown = parser._get_formatter()._expand_help(action)
        has_default = action.default is not False and action.default not in (None, '', {}, [], argparse.SUPPRESS)
        assert shown.count('default') == 1 if has_default and action.nargs != 0 else shown.count('default') <= 1, shown


def test_formatter():
    """A default is told once, paragraphs are wrapped, examples and flags stay whole."""
    parser = argparse.ArgumentParser(
        prog='p',
        formatter_class=lambda prog: HelpFormatter(prog, width=40),
        epilog=f'{"word " * 8}--a-flag-of-many-words\n\nexamples:\n  {"long " * 12}line',
    )
    parser.add_argument('--zero', default=0, help='about zero')
    parser.add_argument('--percent', default='50%', help='about it')
    parser.add_argument('--own', default=3, help='own words (default: three)')
    parser.add_argument('--empty', default='', help='about nothing')
    text = parser.format_help()
    assert 'ZERO about zero (default: 0) --percent PERCENT about it (default: 50%) --own' in ' '.join(text.split())
    assert 'OWN own words (default: three) --empty EMPTY about nothing word' in ' '.join(text.split())
    assert f'{("word " * 8).strip()}\n--a-flag-of-many-words\n\nexamples:\n  {"long " * 12}line' in text


@pytest.mark.parametrize('words', WORDS)
def test_examples_parse(words):
    examples = find_parser(words).epilog.split('examples:\n')[1].split('\n\n')[0].replace('\\\n', '').splitlines()
    assert any(re.match(rf' *([A-Z_]+=\S+ )?{words}', example) for example in examples)
    for example in examples:
        parse(shlex.split(re.sub(r'^ *([A-Z_]+=\S+ )?', '', example)))


def parse(line: list[str]) -> None:
    """Parse an example with the real parser."""
    if line[0] == 'export':
        return
    assert line[0] == 'timm-vipriors'
    is_script = line[1] in SCRIPTS
    parser, words = (prepare_script(line[1]).parser, line[2:]) if is_script else (make_parser(), line[1:])
    try:
        args, others = parser.parse_known_args(words)
    except SystemExit as e:
        assert e.code == 0 and words[-1] == '--help', line
    else:
        assert not others or hasattr(args, 'other_flags'), line


@pytest.mark.parametrize('line', ['demo-data digits --nonsense', 'subset', 'train --epochs many'])
def test_an_example_that_does_not_parse_is_seen(line):
    with pytest.raises(AssertionError):
        parse(['timm-vipriors', *line.split()])


@pytest.mark.parametrize('name', SCRIPTS)
def test_scripts_have_our_texts(name, scripts, capsys):
    """Both timm's own script and the bundled one."""
    with pytest.raises(SystemExit) as e:
        main([name, '--help'])
    assert e.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f'usage: timm-vipriors {name} DIR --model NAME [flags]\n')
    assert f'examples:\n  timm-vipriors {name} DATA ' in out
    assert 'TIMM_SCRIPTS' in out
    assert re.search(r'--workers N +[^-]*\(default: \d\)', out)
