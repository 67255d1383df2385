"""No code from files is run: no pickles, no shell; and outputs do not follow links."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import timm_vipriors
from timm_vipriors.cli import main

from ..inference.score_files import random_scores, save

PACKAGE = Path(timm_vipriors.__file__).parent
FILES = sorted(PACKAGE.rglob('*.py'))

_LOADS = {
    'torch.load': ('weights_only', True),
    'np.load': ('allow_pickle', False),
    'numpy.load': ('allow_pickle', False),
    'load_checkpoint': ('weights_only', True),
    'read_array': ('allow_pickle', False),
}
_FORBIDDEN_CALLS = {
    *(
        'eval',
        'exec',
        'compile',
        '__import__',
        'os.system',
        'os.popen',
        'yaml.load',
        'yaml.unsafe_load',
        'yaml.full_load',
    ),
    *(
        'subprocess.getoutput',
        'subprocess.getstatusoutput',
        'joblib.load',
        'pandas.read_pickle',
        'np.fromfile',
        'torch.jit.load',
    ),
}
_FORBIDDEN_MODULES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'shelve', 'marshal', 'joblib'}


def findings(source: str) -> list[str]:
    """What a source must not have, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or '']
            found += [f'{node.lineno}: import of {m}' for m in modules if m.split('.')[0] in _FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: k.value for k in node.keywords}
        if name in _FORBIDDEN_CALLS:
            found.append(f'{node.lineno}: {name}')
        for ending, (keyword, wanted) in _LOADS.items():
            if name != ending and not name.endswith(f'.{ending}'):
                continue
            value = keywords.get(keyword)
            if not (isinstance(value, ast.Constant) and value.value is wanted):
                found.append(f'{node.lineno}: {name} without {keyword}={wanted}')
        shell = keywords.get('shell')
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            found.append(f'{node.lineno}: {name} with a shell')
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_pickles_no_code_no_shell(path):
    allowed = {}
    # timm's load_checkpoint reads with weights_only=True by default; the bundled script is written like timm's own
    allowed['scripts/validate.py'] = r'load_checkpoint without weights_only=True'
    name = path.relative_to(PACKAGE).as_posix()
    found = [f for f in findings(path.read_text(encoding='utf-8')) if not re.search(allowed.get(name, '$^'), f)]
    assert not found, f'{name}: {found}'


def test_timm_reads_weights_only_by_default():
    import inspect

    from timm.models import load_checkpoint

    assert inspect.signature(load_checkpoint).parameters['weights_only'].default is True


@pytest.mark.parametrize(
    'source',
    [
        *(
            'import pickle',
            'from pickle import load',
            'import os, dill',
            'eval("1")',
            'exec(x)',
            'os.system(x)',
            'yaml.load(f)',
        ),
        *('torch.load(f)', 'torch.load(f, weights_only=False)', 'torch.load(f, weights_only=flag)', 'np.load(f)'),
        *(
            'np.load(f, allow_pickle=True)',
            'subprocess.run(x, shell=True)',
            'load_checkpoint(m, f)',
            'np.lib.format.read_array(f)',
        ),
    ],
)
def test_the_search_finds_what_it_is_for(source):
    assert len(findings(source)) == 1


def test_it_looked_at_all_files():
    assert len(FILES) > 60
    assert any('torch.load(' in path.read_text(encoding='utf-8') for path in FILES)


# --- files that are written


@pytest.mark.parametrize('command', ['average', 'vote', 'show'])
def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(tmp_path, capsys, command):
    """Without --force it is refused, also where the link leads nowhere; with it the target stays as it is."""
    one, two = (
        save(tmp_path / f'{i}.npz', random_scores(6, 3, i), filenames=np.array(list('abcdef'))) for i in range(2)
    )
    from timm_vipriors.hierarchy import ClassHierarchy

    ClassHierarchy([2, 2, -1]).save(tmp_path / 'tree.json')
    link, precious = tmp_path / 'link.png', tmp_path / 'precious'
    precious.write_text('precious')
    link.symlink_to(precious)
    line = {
        'average': ['ensemble', 'average', one, two, '-o', str(link)],
        'vote': ['ensemble', 'vote', '--base', one, two, '--submission', str(link)],
        'show': ['hierarchy', 'show', str(tmp_path / 'tree.json'), '--png', str(link)],
    }[command]
    assert main(line) == 2
    assert 'exists' in capsys.readouterr().err
    assert main([*line, '--force']) == 0
    assert precious.read_text() == 'precious'
    assert not link.is_symlink()
    link.unlink()
    link.symlink_to(tmp_path / 'nowhere')
    assert main(line) == 2
    assert not (tmp_path / 'nowhere').exists()
