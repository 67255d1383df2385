"""The examples do what they show: they reach an accuracy, what learns has learned, and what they save loads again."""

import importlib
import os
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from packaging.version import Version
from torchvision.datasets import ImageFolder

from timm_vipriors.cli import main as timm_vipriors
from timm_vipriors.data import create_transform
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.loss import CenterLoss, FocalCosineLoss, TreeSupervisionLoss

FOLDER = Path(__file__).parent
# what they must reach on the digits in 20 epochs, in per cent: the lowest of three seeds each was 96.7
BOUNDS = {'plain_torch': 93, 'lightning_module': 93, 'accelerate_loop': 93, 'hf_trainer': 93}

# Lightning's use of torch, and its advice on loaders that read in the main process
IGNORED = (
    'ignore:`isinstance(treespec, LeafSpec)` is deprecated',
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:The 'val_dataloader' does not have many workers",
)
WARNINGS = [word for text in IGNORED for word in ('-W', text)]
pytestmark = [pytest.mark.filterwarnings(text.replace('(', r'\(').replace(')', r'\)')) for text in IGNORED]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """The examples save to the current folder; none may reach for the network."""
    attempts = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, 'connect', lambda self, address: attempts.append(address) or self.close())
    torch.manual_seed(0)
    random.seed(0)  # timm's transforms
    yield
    assert not attempts


@pytest.fixture
def run(capsys):
    """Call an example's main() and return the accuracy that it printed, in per cent."""

    def call(name, *args):
        capsys.readouterr()
        importlib.import_module(f'{__package__}.{name}').main(*map(str, args))
        return printed_accuracy(capsys.readouterr().out)

    return call


def printed_accuracy(text):
    return float(re.search(r'^validation accuracy: ([\d.]+)%$', text, re.MULTILINE)[1])


def measured_accuracy(model, data):
    images = ImageFolder(Path(data, 'validation'), create_transform(32, crop_pct=1.0))
    x, y = (torch.stack(list(map(torch.as_tensor, column))) for column in zip(*images, strict=True))
    with torch.inference_mode():
        return 100 * (model.eval()(x).argmax(1) == y).double().mean().item()


def saved_model(state):
    model = timm.create_model('test_dsk_resnext', num_classes=10)
    model.load_state_dict(state)
    return model


def check_plain_torch(data, accuracy):
    saved = torch.load('plain_torch.pt', weights_only=True)
    assert measured_accuracy(saved_model(saved['model']), data) == pytest.approx(accuracy, abs=0.1)
    focal_cosine, center = FocalCosineLoss(num_classes=10), CenterLoss(10, 96 * 4)
    focal_cosine.load_state_dict(saved['focal_cosine'])
    center.load_state_dict(saved['center'])
    assert not torch.allclose(focal_cosine.head.weight, torch.eye(10), atol=1e-3)  # it began as the identity
    assert (center.centers.norm(dim=1) > 0.1).all()  # they began at zero


def check_lightning_module(data, accuracy):
    classifier = importlib.import_module(f'{__package__}.lightning_module').Classifier
    module = classifier.load_from_checkpoint('lightning_module.ckpt', map_location='cpu', weights_only=True)
    assert measured_accuracy(module.model, data) == pytest.approx(accuracy, abs=0.1)
    assert (module.criterion.center.centers.norm(dim=1) > 0.1).all()
    network = saved_model(torch.load('lightning_model.pth', weights_only=True))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network.eval()(x), module.model(x))


def check_accelerate_loop(data, accuracy):
    saved = torch.load('accelerate_loop.pt', weights_only=True)
    assert measured_accuracy(saved_model(saved['state_dict']), data) == pytest.approx(accuracy, abs=0.1)
    criterion = saved['task_state']['criterion']
    assert (criterion['center.centers'].norm(dim=1) > 0.1).all()
    tree = TreeSupervisionLoss(num_classes=10, start_epoch=0)
    assert tree.layout is None
    tree.load_state_dict({key.removeprefix('tree.'): value for key, value in criterion.items() if 'tree.' in key})
    assert tree.layout is not None  # one has grown
    assert ClassHierarchy(criterion['tree.parents'].tolist()).num_classes == 10


def check_hf_trainer(data, accuracy):
    from transformers import AutoModelForImageClassification

    if Version(timm.__version__) < Version('1.0.31'):  # 1.0.27 takes any .bin file for the weights
        Path('dsk_trained', 'training_args.bin').unlink()
    network = timm.create_model('local-dir:dsk_trained', pretrained=True)
    assert tuple(network.pretrained_cfg['input_size']) == (3, 32, 32)
    assert measured_accuracy(network, data) == pytest.approx(accuracy, abs=0.1)
    model = AutoModelForImageClassification.from_pretrained('dsk_trained').eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network(x), model(x).logits)  # both libraries read the folder
    assert [model.config.id2label[label] for label in range(10)] == list('0123456789')


CHECKS = {
    'plain_torch': check_plain_torch,
    'lightning_module': check_lightning_module,
    'accelerate_loop': check_accelerate_loop,
    'hf_trainer': check_hf_trainer,
}


@pytest.fixture
def fewer_digits(digits, tmp_path):
    """The digits with all training images and a tenth of the validation images."""
    root = tmp_path / 'fewer'
    for folder in (digits / 'validation').iterdir():
        (root / 'validation' / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[::10]:
            (root / 'validation' / folder.name / image.name).symlink_to(image)
    (root / 'train').symlink_to(digits / 'train')
    return root


@pytest.mark.parametrize(
    'name', [name if name == 'plain_torch' else pytest.param(name, marks=pytest.mark.slow) for name in CHECKS]
)
def test_short_run(name, run, fewer_digits):
    accuracy = run(name, fewer_digits, 2)
    assert accuracy > 20  # of ten classes
    CHECKS[name](fewer_digits, accuracy)


@pytest.mark.slow
@pytest.mark.parametrize('name', CHECKS)
def test_full_run_as_a_command(name, digits):
    line = [sys.executable, '-W', 'error', *WARNINGS, FOLDER / f'{name}.py', digits]
    env = {**os.environ, 'HF_HUB_OFFLINE': '1'}
    done = subprocess.run(line, text=True, capture_output=True, timeout=500, env=env)
    assert done.returncode == 0, done.stderr
    accuracy = printed_accuracy(done.stdout)
    assert accuracy > BOUNDS[name]
    CHECKS[name](digits, accuracy)


@pytest.mark.slow
def test_lightning_with_a_tree(run, fewer_digits):
    """The tree of a first run supervises the second: the commands that the example's head shows."""
    run('lightning_module', fewer_digits, 1)
    induce = ['hierarchy', 'induce', 'lightning_model.pth', '--classes', str(fewer_digits), '-o', 'tree.json']
    assert timm_vipriors(induce) == 0
    state = torch.load('lightning_module.ckpt', weights_only=True)['state_dict']
    assert 'criterion.tree.parents' not in state
    run('lightning_module', fewer_digits, 1, 'tree.json')
    state = torch.load('lightning_module.ckpt', weights_only=True)['state_dict']
    assert tuple(state['criterion.tree.parents'].tolist()) == ClassHierarchy.load('tree.json').parents


@pytest.mark.slow
def test_accelerate_on_two_processes(fewer_digits):
    """Each process takes half of the batches; one of them speaks and saves."""
    line = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    env = {**os.environ, 'ACCELERATE_USE_CPU': 'true', 'OMP_NUM_THREADS': '1'}
    line += [FOLDER / 'accelerate_loop.py', fewer_digits, '2']
    done = subprocess.run(line, text=True, capture_output=True, timeout=500, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('validation accuracy') == 1
    saved = torch.load('accelerate_loop.pt', weights_only=True)
    assert saved['task_state']['criterion']['tree.step'] == 20  # of 40 batches
    check_accelerate_loop(fewer_digits, printed_accuracy(done.stdout))


def test_every_example_is_short_and_tested():
    names = {path.stem for path in FOLDER.glob('*.py')} - {'__init__', 'conftest', 'test_examples'}
    assert names == set(CHECKS) == set(BOUNDS)
    for name in names:
        assert 25 <= len((FOLDER / f'{name}.py').read_text().splitlines()) <= 60
