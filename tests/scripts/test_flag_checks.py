"""Values of flags that no run can have: refused before the start, by the flag's name."""

import sys

import pytest

from timm_vipriors.errors import UserError
from timm_vipriors.scripts.flag_checks import check_values
from timm_vipriors.scripts.runner import given_arguments, parse_args, prepare_script

from .parsing import parse, parser


@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('--crop-pct 0', '--crop-pct must be in 0.01 … 10, got 0.0'),
        ('--lr nan', '--lr must be from 0, got nan'),
        ('-b 0', '--batch-size must be from 1'),
        ('--hflip 2', '--hflip must be in 0 … 1'),
        ('--seed -1', '--seed must be in 0 … 2147483647'),
        ('--in-chans 1 --aa rand-m9', '--aa rand-m9 needs images of three channels'),
        ('--mixup 0.2 -b 21', '--mixup and --cutmix need an even --batch-size, got 21'),
        ('--cutmix 1 -b 21', '--mixup and --cutmix need an even --batch-size, got 21'),
        ('--scale 0.5', '--scale [0.5]'),
        ('--eval-metric nonsense', '--eval-metric must be one of top1, top5, loss'),
        ('--opt nonsense', '--opt nonsense cannot be used'),
        ('--sched nonsense', '--sched nonsense cannot be used'),
        ('--sched step --decay-epochs 0', '--sched step cannot be used with the other flags'),
        ('--aa nonsense', '--aa nonsense'),
        ('--train-interpolation zz', '--train-interpolation zz'),
        ('--cache-shrink', '--cache-shrink needs --cache ram or --cache disk'),
        ('--device nonsense', '--device nonsense cannot be used'),
    ],
)
def test_values_that_no_run_can_have(line, sentence):
    with pytest.raises(UserError) as e:
        check_values(parse(f'DATA {line}'))
    assert sentence in str(e.value)


@pytest.mark.parametrize(
    'line',
    [
        *('', '--opt lookahead_adamw', '--aa augmix-m5-w4-d2', '--train-interpolation bicubic', '--scale 0.5 1'),
        *('--sched none', '--in-chans 1', '--input-size 1 32 32 --mean 0.5', '--mixup 0.2 -b 20'),
    ],
)
def test_values_that_are_right_pass(line):
    check_values(parse(f'DATA {line}'))


@pytest.fixture
def config(tmp_path, monkeypatch, scripts):
    """The training script, with a command line that names c.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['train', 'DATA', '--config', 'c.yaml'])
    return prepare_script('train')


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('- a', 'must be a mapping'),
        ('', 'must be a mapping'),
        ('a: [', 'while parsing'),
        ('a: !!python/object/apply:os.mkdir [canary]', 'could not determine a constructor'),
        (b'\xff\xfe\x00', 'utf-8'),
        (None, 'No such file or directory'),
    ],
)
def test_config_files_that_cannot_be_read(config, content, said, tmp_path):
    if content is not None:
        (tmp_path / 'c.yaml').write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=f'^--config: .*{said}'):
        parse_args(config)
    assert not (tmp_path / 'canary').exists()


def test_config_file_with_a_name_that_is_no_flag(config, tmp_path, capsys):
    (tmp_path / 'c.yaml').write_text('epohcs: 5\nlr: 1e-3\nmean: [0, 0.5, 1]\nlsb_swap: 2\n')  # 1e-3 is a text in YAML
    args = parse_args(config)
    assert (args.lr, args.mean, args.lsb_swap, args.epochs) == (1e-3, [0, 0.5, 1], 2, 300)
    assert capsys.readouterr().err == 'warning: --config has names that are no flags: epohcs\n'


def test_given_arguments():
    argv = ['DATA', '--img-s', '32', '-b', '8', '--model=resnet18', '--lr', '-1']
    assert {'img_size', 'batch_size', 'model', 'lr'} <= given_arguments(parser(), argv)
    assert not {'epochs', 'input_size'} & given_arguments(parser(), argv)
