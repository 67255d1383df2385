"""Checkpoints from anyone: damaged ones are refused, none runs code, and none is taken for another model's."""

import argparse
import io
import os
import pickle
import random
import zipfile

import pytest
import timm
import torch

from timm_vipriors.checkpoint import Checkpoint
from timm_vipriors.files import read_checkpoint
from timm_vipriors.hierarchy import ClassHierarchy

from .cases import ACCEPTED, REFUSED, at_scale, attempt, command, damaged, run_cases

pytestmark = pytest.mark.usefixtures('one_thread')
CPU = '--workers 0 --device cpu'.split()


class Touch:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def _state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        'conv.weight': torch.randn(4, 3, 3, 3, generator=generator),
        'fc.weight': torch.randn(5, 4, generator=generator),
        'fc.bias': torch.zeros(5),
    }


def _saved(content: object, path, **kwargs) -> bytes:
    torch.save(content, path, **kwargs)
    return path.read_bytes()


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('place', ['itself', 'args', 'arch', 'key of the state', 'in the state'])
def test_code_in_a_checkpoint_does_not_run(tmp_path, place, legacy, capsys):
    canary = tmp_path / 'canary'
    touch, state = Touch(canary), _state()
    content = {
        'itself': touch,
        'args': {'state_dict': state, 'args': touch},
        'arch': {'state_dict': state, 'arch': touch},
        'key of the state': {'state_dict': {**state, touch: 1}},
        'in the state': {'state_dict': {**state, 'x': [touch]}},
    }[place]
    path = tmp_path / 'bad.pth.tar'
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=f'{path} is not a checkpoint'):
        read_checkpoint(str(path))
    images = tmp_path / 'images'
    images.mkdir()
    code, _, err = command(capsys, ['hierarchy', 'induce', str(path), '-o', str(tmp_path / 'tree.json')])
    assert (code, 'is not a checkpoint' in err) == (2, True)
    code, _, err = command(capsys, ['predict', str(images), '--checkpoint', str(path), '-o', str(tmp_path / 's.npz')])
    assert (code, 'is not a checkpoint' in err) == (2, True)
    assert not canary.exists()
    torch.load(path, weights_only=False)  # the canary sings where code may run
    assert canary.exists()


@pytest.mark.parametrize('flag', ['--resume', '--initial-checkpoint', '--checkpoint'])
def test_code_in_a_checkpoint_does_not_run_in_the_scripts(tmp_path, few_digits, flag, capsys, monkeypatch):
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    monkeypatch.chdir(tmp_path)
    canary, path = tmp_path / 'canary', tmp_path / 'bad.pth.tar'
    torch.save({'state_dict': _state(), 'x': Touch(canary)}, path)
    script = 'validate' if flag == '--checkpoint' else 'train'
    code, _, err = command(
        capsys,
        [
            script,
            str(few_digits),
            *'--model test_dsk_resnext --img-size 32 --device cpu --workers 0 -b 8'.split(),
            flag,
            str(path),
        ],
    )
    assert (code, 'is not a checkpoint' in err) == (2, True), err
    assert not canary.exists()


def test_a_bare_pickle_is_no_checkpoint(tmp_path):
    canary, path = tmp_path / 'canary', tmp_path / 'x.pth'
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({'fc.weight': Touch(canary)}, protocol))
        with pytest.raises(ValueError, match='is not a checkpoint'):
            read_checkpoint(str(path))
    assert not canary.exists()


@at_scale(60, 1500)
def test_damaged_checkpoints(number, tmp_path):
    """What is read has the tensors that were saved, whatever became of the bytes."""
    from safetensors.torch import save_file

    state = _state()
    whole = {'state_dict': state, 'arch': 'test_dsk_resnext', 'epoch': 3, 'args': argparse.Namespace(model='x', lr=0.1)}
    save_file(state, tmp_path / 'a.safetensors')
    contents = {'pth': _saved(whole, tmp_path / 'a.pth'), 'safetensors': (tmp_path / 'a.safetensors').read_bytes()}
    begin = contents['pth'].index(state['fc.weight'].numpy().tobytes())

    def check(rng) -> str:
        kind = rng.choice(['pth', 'pth', 'safetensors'])
        content = bytearray(contents[kind])
        if kind == 'pth' and rng.random() < 0.3:  # within a tensor
            content[begin + rng.randrange(80)] ^= 1 << rng.randrange(8)
        else:
            content = damaged(rng, content)
        path = tmp_path / f'x.{kind}'
        path.write_bytes(content)
        found, sentence = attempt(lambda: read_checkpoint(str(path)), str(path))
        if sentence is not None:
            return REFUSED
        there = found.get('state_dict', {})
        for key in there.keys() & state.keys():
            right = torch.equal(there[key], state[key]) if there[key].shape == state[key].shape else False
            assert right or kind == 'safetensors'  # which has no checksum
        return ACCEPTED

    outcomes = run_cases('checkpoints', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > number / 50


_KEYS = ['fc.weight', 'head.weight', 'module.fc.weight', 'weight', '', 0, None, ('a',), 'fc.bias', 'classifier.weight']


def _odd(rng: random.Random) -> object:
    return rng.choice(
        [
            *(None, 0, -1, 1.5, 'x', '', 'resnet50', [], {}, (), b'x', True),
            torch.randn(5, 4),
            torch.zeros(3, 2),
            torch.full((3, 2), torch.nan),
            torch.zeros(0, 4),
            torch.randn(3, 2, 1, 1),
            torch.randn(3, dtype=torch.complex64)[:, None],
            torch.ones(3, 2, dtype=torch.int8),
        ]
    )


@at_scale(60, 1500)
def test_contents_of_checkpoints(number, tmp_path):
    """Whatever stands in a checkpoint, the classifier that is found is a matrix of it, and a tree fits it."""
    path = tmp_path / 'x.pth'

    def check(rng) -> str:
        state = {rng.choice(_KEYS): _odd(rng) for _ in range(rng.randrange(4))}
        content = rng.choice([state, {'state_dict': state}, {'state_dict': _odd(rng)}, _odd(rng)])
        if isinstance(content, dict):
            for key in rng.sample(['arch', 'args', 'state_dict_ema', 'epoch'], rng.randrange(3)):
                content[key] = rng.choice([_odd(rng), state, argparse.Namespace(model=_odd(rng))])
        torch.save(content, path)
        ema = rng.random() < 0.3
        weight, sentence = attempt(lambda: Checkpoint.read(path, ema).classifier_weight(), str(path))
        if sentence is not None:
            return REFUSED
        assert weight.ndim == 2
        tree, sentence = attempt(lambda: ClassHierarchy.from_checkpoint(path, use_ema=ema))
        if sentence is not None:
            return REFUSED
        assert tree.num_classes == len(weight)
        return ACCEPTED

    outcomes = run_cases('contents of checkpoints', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0


@at_scale(8, 100)
def test_what_a_checkpoint_says_of_its_training(number, tmp_path, few_digits, capsys):
    """Hostile words about the model and its images: probabilities of the right shape, or one sentence."""
    model = timm.create_model('test_dsk_resnext', num_classes=10)
    images = tmp_path / 'images'
    images.mkdir()
    for i, path in enumerate(sorted(few_digits.glob('validation/*/*'))[:2]):
        (images / f'{i}.png').write_bytes(path.read_bytes())
    keys = (
        'num_classes in_chans img_size input_size gp model_kwargs mean std interpolation crop_pct crop_mode model aa '
        'scale hflip nonsense'
    ).split()
    odd = [*('', 'x', 'bicubic', 'squash', 'avg', None, True), *(0, -1, 10, 32, 0.5, float('nan'))]
    odd += [[], [0.5], [0.5, 0.5, 0.5], ['a'], [3, 32], (3, 32, 32), {}, {'x': 1}]

    def check(rng) -> str:
        trained = {
            'num_classes': 10,
            'img_size': 32,
            **{rng.choice(keys): rng.choice(odd) for _ in range(rng.randrange(3))},
        }
        content = {'state_dict': model.state_dict(), 'arch': 'test_dsk_resnext', 'args': argparse.Namespace(**trained)}
        if rng.random() < 0.3:
            content[rng.choice(['arch', 'args', 'state_dict'])] = _odd(rng)
        torch.save(content, tmp_path / 'x.pth')
        output = tmp_path / 's.npz'
        tta = rng.choice(['none', 'none', 'none', 'hflip', 'randaug:2'])
        code, _, _ = command(
            capsys,
            [
                'predict',
                str(images),
                '--checkpoint',
                str(tmp_path / 'x.pth'),
                '-o',
                str(output),
                '--force',
                *CPU,
                '--tta',
                tta,
            ],
        )
        if code == 2:
            return REFUSED
        from timm_vipriors.inference.scores import ScoreFile

        assert ScoreFile.open(output).read().shape == (2, 10)
        return ACCEPTED

    outcomes = run_cases('checkpoints to predict by', number, check)
    assert min(outcomes[ACCEPTED], outcomes[REFUSED]) > 0


def test_another_models_checkpoint_is_said_to_be_one(tmp_path, few_digits, capsys):
    other = timm.create_model('test_resnet', num_classes=10)
    torch.save({'state_dict': other.state_dict(), 'arch': 'test_resnet'}, tmp_path / 'x.pth')
    code, _, err = command(
        capsys,
        [
            'predict',
            str(few_digits),
            *'--model test_dsk_resnext --num-classes 10'.split(),
            '--checkpoint',
            str(tmp_path / 'x.pth'),
            '-o',
            str(tmp_path / 's.npz'),
            *CPU,
        ],
    )
    assert code == 2
    assert 'is a checkpoint of test_resnet with 10 classes, which does not fit --model test_dsk_resnext' in err
    assert not (tmp_path / 's.npz').exists()


def test_a_checkpoint_with_a_wrong_checksum_is_refused(tmp_path):
    content = _saved({'state_dict': _state()}, tmp_path / 'a.pth')
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None  # torch writes right ones
    data = bytearray(content)
    data[content.index(_state()['fc.weight'].numpy().tobytes())] ^= 1
    (tmp_path / 'a.pth').write_bytes(data)
    with pytest.raises(ValueError, match='is damaged'):
        read_checkpoint(str(tmp_path / 'a.pth'))
