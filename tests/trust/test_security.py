"""Nothing of others is run: no pickles, no code, no shell; and names do not become markup."""

import ast
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import timm_vipriors
from timm_vipriors.cli import main
from timm_vipriors.report.markup import el

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


# --- the report


class _Page(HTMLParser):
    """Tags with their attributes, and the texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.texts.append(data)


HOSTILE = [
    '<script>alert(1)</script>',
    '"><script>alert(2)</script>',
    "' onmouseover='alert(3)",
    '" onload="alert(4)" x="',
    '</title><script>alert(5)</script>',
    '</text></svg><img src=x onerror=alert(6)>',
    '</style><script>alert(7)</script>',
    '<!--',
    ']]><script>alert(8)</script>',
    '&lt;script&gt;&#x3c;script&#x3e;',
    'javascript:alert(9)',
]
_TAGS = {
    *(
        'html',
        'head',
        'meta',
        'title',
        'style',
        'body',
        'main',
        'header',
        'footer',
        'nav',
        'section',
        'div',
        'p',
        'a',
        'b',
    ),
    *(
        'h1',
        'h2',
        'h3',
        'h4',
        'ul',
        'li',
        'code',
        'span',
        'strong',
        'bdi',
        'dl',
        'dt',
        'dd',
        'details',
        'summary',
        'figure',
    ),
    *('figcaption', 'img', 'table', 'caption', 'thead', 'tbody', 'tr', 'th', 'td', 'br', 'svg', 'text', 'line', 'rect'),
    *('circle', 'polyline'),
}


@pytest.mark.parametrize('labelled', [True, False], ids=['targets', 'no targets'])
def test_a_report_escapes_every_name(tmp_path, capsys, labelled):
    """Class names, file names, the model, the title, the folder of a run, its settings: in HTML, attributes and SVG."""
    classes = len(HOSTILE)
    targets = np.arange(40) % classes
    scores = random_scores(40, classes, seed=1)
    files = np.array([f'{HOSTILE[i % classes]}/{i}{HOSTILE[(i + 1) % classes]}.png' for i in range(40)])
    fields = dict(filenames=files, class_names=np.array(HOSTILE), targets=targets if labelled else None)
    for i in range(2):
        save(tmp_path / f'{i}.npz', scores, **fields, model=HOSTILE[i])
    run = tmp_path / 'x" onload="alert(1)'
    run.mkdir()
    (run / 'summary.csv').write_text('epoch,train_loss,eval_top1\n0,1,2\n1,2,3\n')
    (run / 'args.yaml').write_text(''.join(f'"{i}<b>": {h!r}\n' for i, h in enumerate(HOSTILE) if "'" not in h))
    (tmp_path / 'images').mkdir()
    output = tmp_path / 'report.html'
    line = [
        'report',
        str(run),
        str(tmp_path / '0.npz'),
        str(tmp_path / '1.npz'),
        '-o',
        str(output),
        '--title',
        HOSTILE[4],
    ]
    for more in ([], ['--images', str(tmp_path / 'images')]):
        assert main([*line, *more, '--force']) == 0, capsys.readouterr().err
        text = output.read_text(encoding='utf-8')
        page = _Page(text)
        assert {tag for tag, _ in page.tags} <= _TAGS
        for tag, attributes in page.tags:
            assert not any(name.startswith('on') for name in attributes), (tag, attributes)
            assert not (attributes.get('href') or '#').lower().startswith('javascript')
            assert (attributes.get('src') or 'data:').startswith('data:')
            assert not {'srcdoc', 'formaction', 'xlink:href'} & attributes.keys()
        shown = ' '.join(page.texts)
        for name in HOSTILE:
            assert name in shown, name  # as text, whole
        svg = re.findall(r'<svg.*?</svg>', text, flags=re.DOTALL)
        assert any(html.escape(HOSTILE[0][:10]) in part for part in svg) == labelled  # in the matrix
        assert any("default-src 'none'" in (given.get('content') or '') for _, given in page.tags)


@pytest.mark.parametrize('name', ['text', 'title', 'td', 'rect', 'img'])
@pytest.mark.parametrize('hostile', HOSTILE)
def test_elements_escape_content_and_attributes(name, hostile):
    content = () if name == 'img' else (hostile,)
    page = _Page(el(name, *content, alt=hostile, data_series=hostile))
    assert page.tags == [(name, {'alt': hostile, 'data-series': hostile})]
    assert ''.join(page.texts) == ''.join(content)


# --- files that are written


@pytest.mark.parametrize('command', ['average', 'vote', 'show', 'report'])
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
        'report': ['report', one, '-o', str(link)],
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
