"""A photo gets the same probabilities by `load_classifier`, `predict` and the loader of validate, of any checkpoint."""

import os
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_dataset, create_loader, resolve_data_config

from timm_vipriors.cli import main
from timm_vipriors.inference.classifier import load_classifier

from ..conftest import find_timm

MODEL = 'test_dsk_resnext'
FLAGS = (
    f'--model {MODEL} --img-size 36 --num-classes 10 -b 20 --workers 1 --warmup-epochs 0 --epochs 2 --lr 0.05'.split()
)
EMA = '--model-ema --model-ema-decay 0.5'.split()
FILES = ('last.pth.tar', 'model_best.pth.tar', 'checkpoint-0.pth.tar', '')  # '' is the run's folder


@pytest.fixture(scope='module')
def runs(few_digits, tmp_path_factory):
    """Runs of the bundled script and of timm's, through our command and alone, with averaged weights and without."""
    timm_scripts = find_timm('train.py')
    if timm_scripts is None:
        pytest.skip('no checkout of timm')
    folder = tmp_path_factory.mktemp('runs')
    common = [str(few_digits), *FLAGS, '--output', str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('TIMM_SCRIPTS', raising=False)
        assert main(['train', *common, '--experiment', 'bundled-ema', *EMA]) == 0
        assert main(['train', *common, '--experiment', 'bundled']) == 0
        patch.setenv('TIMM_SCRIPTS', str(timm_scripts))
        assert main(['train', *common, '--experiment', 'timm-ema', *EMA]) == 0
    script = [sys.executable, '-m', 'timm_vipriors', 'run', str(timm_scripts / 'train.py')]
    alone = [*script, *common, '--experiment', 'alone-ema', *EMA, '--device', 'cpu']
    subprocess.run(alone, check=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True)
    return folder


@pytest.fixture
def photo(tmp_path):
    (tmp_path / 'photos').mkdir()
    path = tmp_path / 'photos' / 'photo.jpg'
    Image.fromarray(np.random.default_rng(0).integers(256, size=(50, 70, 3), dtype=np.uint8)).save(path)
    return path


def by_timm(path, photo):
    """Probabilities by timm alone: its loader of weights with its default, and the images of its validate.py."""
    model = timm.create_model(MODEL, num_classes=10, checkpoint_path=str(path)).eval()
    config = resolve_data_config({'img_size': 36}, model=model, use_test_size=True)
    dataset = create_dataset('', root=str(photo.parent))
    keys = ('input_size', 'interpolation', 'mean', 'std', 'crop_pct', 'crop_mode')
    settings = dict(batch_size=1, num_workers=0, persistent_workers=False, device=torch.device('cpu'))
    ((images, _),) = create_loader(dataset, **{key: config[key] for key in keys}, **settings)
    with torch.no_grad():
        return model(images)[0].softmax(0).tolist()


def check(checkpoint, photo, wanted, out, *flags, **settings):
    """By our function and our command."""
    found = load_classifier(checkpoint, **settings)(str(photo))
    assert [found[str(i)] for i in range(10)] == pytest.approx(wanted, abs=1e-5)
    assert next(iter(found)) == str(np.argmax(wanted))
    assert main(['predict', str(photo.parent), '--checkpoint', str(checkpoint), '-o', str(out), '--force', *flags]) == 0
    with np.load(out) as scores:
        assert scores['scores'][0].tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:unclosed file:ResourceWarning')  # of timm's data set
@pytest.mark.parametrize('name', ['bundled', 'bundled-ema', 'timm-ema', 'alone-ema'])
def test_of_a_run(runs, photo, tmp_path, name, capsys):
    seen = []
    for file in FILES:
        path = runs / name / file
        wanted = by_timm(path if file else runs / name / 'model_best.pth.tar', photo)
        check(path, photo, wanted, tmp_path / 's.npz')
        capsys.readouterr()
        assert main(['predict', str(photo), '--checkpoint', str(path)]) == 0
        assert f'photo.jpg: {np.argmax(wanted)} {100 * max(wanted):.2f} %' in capsys.readouterr().out
        seen.append(wanted)
    assert seen[0] != seen[2]  # two epochs
    if name.endswith('ema'):
        found = load_classifier(runs / name / 'last.pth.tar', use_ema=False)(photo)
        assert max(abs(found[str(i)] - seen[0][i]) for i in range(10)) > 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:unclosed file:ResourceWarning')
@pytest.mark.parametrize('name', ['bundled', 'bundled-ema'])
def test_of_what_is_made_from_a_run(runs, photo, tmp_path, name):
    wanted = by_timm(runs / name / 'last.pth.tar', photo)
    classifier = load_classifier(runs / name / 'last.pth.tar')
    classifier.save(tmp_path / 'own.pth.tar')
    check(tmp_path / 'own.pth.tar', photo, wanted, tmp_path / 's.npz')
    names = {'label_names': classifier.class_names}
    for safe in (True, False):
        folder = tmp_path / f'hub-{safe}'
        timm.models.save_for_hf(classifier.model, folder, names, safe_serialization=safe)
        check(folder, photo, wanted, tmp_path / 's.npz')
        check(f'local-dir:{folder}', photo, wanted, tmp_path / 's.npz')
    save_file(classifier.model.state_dict(), tmp_path / 'bare.safetensors')
    (tmp_path / 'names.txt').write_text('\n'.join(classifier.class_names))
    flags = ['--model', MODEL, '--img-size', '36', '--classes', str(tmp_path / 'names.txt')]
    settings = dict(model=MODEL, img_size=36, class_names=classifier.class_names)
    check(tmp_path / 'bare.safetensors', photo, wanted, tmp_path / 's.npz', *flags, **settings)
    fused = load_classifier(runs / name / 'last.pth.tar', fuse=True)(photo)
    assert [fused[str(i)] for i in range(10)] == pytest.approx(wanted, abs=1e-5)
