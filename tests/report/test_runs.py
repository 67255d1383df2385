"""What the folder of a run says."""

import numpy as np
import pytest

from timm_vipriors.errors import UserError
from timm_vipriors.report import read_run

from .samples import HEADER, write_run


def test_a_run_is_read(tmp_path):
    lines = [HEADER, '0,2.5,2.25,10.5,50,0.001', '1,1.5,1.25,60,90,0.002', '2,1.25,1.5,60,91,0.0005']
    run = read_run(write_run(tmp_path / 'A', *lines, settings='lr: 0.1\nmodel: x\n'))
    assert (run.name, run.path) == ('A', str(tmp_path / 'A'))
    assert run.epochs.tolist() == [0, 1, 2]
    assert run.columns['eval_loss'].tolist() == [2.25, 1.25, 1.5]
    assert run.columns['lr'].tolist() == [0.001, 0.002, 0.0005]
    assert run.settings == {'lr': 0.1, 'model': 'x'}
    assert run.best() == ('eval_top1', 1)  # the first of equals


def test_a_resumed_run_has_a_second_header_and_epochs_twice(tmp_path):
    lines = ['epoch,train_loss,lr', '0,3,1', '1,2,1', '2,9,1', '', HEADER, '2,1.5,1.25,60,90,0.5', '3,1,1,70,95,0.25']
    run = read_run(write_run(tmp_path / 'A', *lines))
    assert run.epochs.tolist() == [0, 1, 2, 3]
    assert run.columns['train_loss'].tolist() == [3, 2, 1.5, 1]
    np.testing.assert_equal(run.columns['eval_top1'], [np.nan, np.nan, 60, 70])
    assert run.settings == {}


def test_a_summary_that_a_spreadsheet_saved_is_read(tmp_path):
    assert read_run(write_run(tmp_path / 'A', f'\ufeff{HEADER}', '0,1,2,3,4,5')).epochs.tolist() == [0]


@pytest.mark.parametrize(
    ('settings', 'header', 'rows', 'best'),
    [
        ('eval_metric: loss', HEADER, ['0,1,3,50,50,1', '1,1,2,40,50,1'], ('eval_loss', 1)),
        ('eval_metric: top1', HEADER, ['0,1,3,50,50,1', '1,1,2,40,50,1'], ('eval_top1', 0)),
        ('eval_metric: top5', 'epoch,train_loss', ['0,3', '1,2', '2,nan'], ('train_loss', 1)),
        ('eval_metric: top1', 'epoch,lr', ['0,3'], None),
    ],
)
def test_the_best_epoch_is_by_the_metric_of_the_run(tmp_path, settings, header, rows, best):
    assert read_run(write_run(tmp_path / 'A', header, *rows, settings=settings)).best() == best


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ([''], 'has no epochs yet'),
        ([HEADER], 'has no epochs yet'),
        (['epoch,loss', '0,1'], 'none of the columns train_loss'),
        (['0,1,2,3,4,5'], 'line 1: expected a header that begins with epoch'),
        ([HEADER, '0,1,2'], r'line 2: expected 6 numbers \(epoch,train_loss'),
        ([HEADER, '0,1,2,3,4,5', '1,1,2,3,4,five'], "line 3: expected 6 numbers .*'five'"),
        ([HEADER, 'x,1,2,3,4,5'], 'line 2: expected 6 numbers'),
        (['\x00\x01\x02'], 'summary.csv, line'),
    ],
)
def test_a_broken_summary_is_an_error(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_run(write_run(tmp_path / 'A', *lines))


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r'has no summary.csv: expected the folder of a run'):
        read_run(tmp_path)
    for i, settings in enumerate(['- a\n- b\n', 'a: [', 'a: !!python/object:os.system 1']):
        with pytest.raises(UserError, match=r'args.yaml'):
            read_run(write_run(tmp_path / str(i), HEADER, '0,1,2,3,4,5', settings=settings))
    (tmp_path / '0' / 'summary.csv').write_bytes(b'epoch,\xff\xfe')
    with pytest.raises(UserError, match=r'summary.csv, line'):
        read_run(tmp_path / '0')
