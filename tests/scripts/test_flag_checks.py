"""Values of flags that no run can have: refused before the start, by the flag's name."""

import warnings

import pytest

from timm_vipriors.errors import UserError
from timm_vipriors.scripts.flag_checks import check_config, check_values, given_arguments

from .parsing import parse, parser


@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('--crop-pct 0', '--crop-pct must be above 0, got 0.0'),
        ('--crop-pct nan', '--crop-pct: expected a finite number, got nan'),
        ('--lr inf', '--lr: expected a finite number'),
        ('--epochs -1', '--epochs must be from 1, got -1'),
        ('-b 0', '--batch-size must be from 1'),
        ('--hflip 2', '--hflip must be in 0 … 1'),
        ('--seed -1', '--seed must be in 0 … 2147483647'),
        ('--mean 1 2', '--mean: expected one number, or one for each of 3 channels: 1.0 2.0'),
        ('--std 0', '--std must be above 0'),
        ('--input-size 3 0 32', '--input-size must be channels, height and width'),
        ('--input-size 1 32 32 --in-chans 3', '--input-size must be channels, height and width, with the channels'),
        ('--in-chans 2', 'images are read with 1 or 3 channels, got --in-chans 2'),
        ('--in-chans 1 --aa rand-m9', '--aa rand-m9 needs images of three channels'),
        ('--mixup 0.2 -b 21', '--mixup and --cutmix need an even --batch-size, got 21'),
        ('--cutmix 1 -b 21', '--mixup and --cutmix need an even --batch-size, got 21'),
        ('--scale 0.5', '--scale: expected two numbers above 0, the smaller one first, got 0.5'),
        ('--ratio 2 1', '--ratio: expected two numbers above 0'),
        ('--eval-metric nonsense', '--eval-metric must be one of top1, top5, loss'),
        ('--opt nonsense', '--opt nonsense cannot be made'),
        ('--sched nonsense', '--sched nonsense cannot be made'),
        ('--sched step --decay-epochs 0', '--sched step cannot be made with the flags given'),
        ('--aa nonsense', '--aa nonsense'),
        ('--train-interpolation zz', '--train-interpolation zz cannot be made'),
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


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('epochs: 2.5', '--epochs does not take 2.5'),
        ('epochs: true', '--epochs does not take True'),
        ('lsb_swap: 2.5', '--lsb-swap does not take 2.5'),
        ('lr: [1, 2]', '--lr does not take [1, 2]'),
        ('mean: [a, 1]', "--mean does not take ['a', 1]"),
        ('model: 3', '--model does not take 3'),
        ('model_ema: maybe', "--model-ema does not take 'maybe'"),
        ('model_kwargs: zzz', "--model-kwargs does not take 'zzz'"),
        ('- a', 'expected lines of "name: value"'),
        ('', 'expected lines of "name: value"'),
        ('3: 4', 'expected lines of "name: value"'),
        ('a: [', 'is not a YAML file'),
        ('a: ' + '[' * 5000, 'is not a YAML file'),
        ('a: !!python/object/apply:os.mkdir [canary]', 'is not a YAML file'),
        (b'\xff\xfe\x00', 'is not a YAML file'),
        (None, 'cannot be read: No such file or directory'),
    ],
)
def test_config_files(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / 'c.yaml').write_bytes(content if isinstance(content, bytes) else content.encode())
    with warnings.catch_warnings(), pytest.raises(UserError) as e:
        warnings.simplefilter('ignore')
        check_config(parser(), 'c.yaml')
    assert str(e.value).startswith('--config c.yaml')
    assert said in str(e.value)
    assert not (tmp_path / 'canary').exists()


def test_config_file_with_a_name_that_is_no_flag(tmp_path, capsys):
    (tmp_path / 'c.yaml').write_text('epohcs: 5\nlr: 1e-3\nmean: [0, 0.5, 1]\nlsb_swap: 2\n')  # 1e-3 is a text in YAML
    check_config(parser(), str(tmp_path / 'c.yaml'))
    assert capsys.readouterr().err.endswith('c.yaml has names that are no flags of the script: epohcs\n')


def test_given_arguments():
    argv = ['DATA', '--img-s', '32', '-b', '8', '--model=resnet18', '--lr', '-1']
    assert {'img_size', 'batch_size', 'model', 'lr'} <= given_arguments(parser(), argv)
    assert not {'data', 'epochs', 'input_size'} & given_arguments(parser(), argv)
