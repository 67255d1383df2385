"""`timm-vipriors report`"""

import sys

import pytest

from timm_vipriors.cli import main
from timm_vipriors.errors import UserError
from timm_vipriors.report import build_report, write_report

from .html import build
from .samples import HEADER, make_scores, save, write_run


def test_the_command_writes_the_page_of_the_function(tmp_path, capsys):
    path = str(save(tmp_path / 's.npz', make_scores(50, 3)))
    run = str(write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5'))
    (tmp_path / 'images').mkdir()
    output = tmp_path / 'page.html'
    line = ['report', path, run, '-o', str(output), '--images', str(tmp_path / 'images'), '--title', 'T']
    assert main(line) == 0
    assert f'{output}: 1 run, 1 model, ' in capsys.readouterr().out
    assert output.read_text(encoding='utf-8') == build(path, run, images=tmp_path / 'images', title='T')


def test_without_a_name_the_page_stands_in_the_first_run(tmp_path, capsys):
    run = str(write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5'))
    for _ in range(2):  # the second page replaces the first
        assert main(['report', run]) == 0
        out = capsys.readouterr().out
        assert f'{run}/report.html: 1 run, 0 models, ' in out
        assert f'timm-vipriors predict DATA --checkpoint {run} -o scores.npz' in out
    mine = str(write_run(tmp_path / 'mine', HEADER, '0,1,2,3,4,5', settings='data: my photos'))
    assert main(['report', mine]) == 0
    out = capsys.readouterr().out
    assert f"timm-vipriors predict 'my photos' --checkpoint {mine} -o scores.npz" in out
    assert f"timm-vipriors report {mine} scores.npz --images 'my photos/validation'" in out
    path = str(save(tmp_path / 's.npz', make_scores(50, 3)))
    assert main(['report', path]) == 2
    assert '-o report.html' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('sources', 'options', 'message'),
    [
        (['nowhere'], {}, 'nowhere does not exist: expected the folder of a run, or a score file'),
        (['empty'], {}, 'has no summary.csv'),
        (['text.npz'], {}, 'text.npz is no'),
        (['s.npz'], {'images': 'nowhere'}, 'nowhere is not a folder'),
        (['run'], {'images': 'empty'}, 'with --images at least one score file'),
        ([], {}, 'expected folders of runs, score files, or both'),
        (['s.npz'], {'output': 'none/page.html'}, 'no such folder'),
        (['run'] * 9, {}, 'at most 8 runs'),
    ],
)
def test_mistakes_of_the_user(tmp_path, monkeypatch, sources, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.npz').write_text('hello')
    save(tmp_path / 's.npz', make_scores(5, 3))
    write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        write_report(**{'output': 'page.html', 'sources': sources, **options})
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('missing', ['matplotlib', 'jinja2'])
def test_a_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, 'timm_vipriors.report.plots', raising=False)
    monkeypatch.delattr('timm_vipriors.report.plots', raising=False)
    with pytest.raises(UserError, match=r"pip install 'timm-vipriors\[report\]'"):
        build_report([write_run(tmp_path / 'run', HEADER, '0,1,2,3,4,5')])
