"""Completion in a shell, by shtab's script for our parser."""

import subprocess

import pytest

from timm_vipriors.cli import SCRIPTS, make_parser

LINES = {
    '': {'recipe', 'subset', *SCRIPTS},
    'rec': {'recipe'},
    'hierarchy ': {'induce', 'show'},
    'subset a b --per': {'--per-class'},
    'ensemble search --metric ': {'top1', 'top5'},
}


def test_in_bash():
    """The command in the help text gives a script that completes commands, flags and choices."""
    shtab = pytest.importorskip('shtab')
    assert 'shtab --shell=bash timm_vipriors.cli.make_parser' in make_parser().format_help()
    script = shtab.complete(make_parser(), shell='bash')
    for line, expected in LINES.items():
        *words, last = f'timm-vipriors {line}'.split(' ')
        code = f"""{script}
            COMP_WORDS=({' '.join(words)} "{last}") COMP_CWORD={len(words)}
            _shtab_timm_vipriors timm-vipriors "{last}" ""
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(['bash', '-c', code], text=True, capture_output=True, timeout=60)
        offered = {word for word in done.stdout.split() if word.startswith(last)}
        assert expected <= offered, done.stderr
        assert not last or offered == expected, line
