"""Predictions against a slow reference: image by image, view by view, in float64."""

import argparse
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from timm_vipriors.cli import main
from timm_vipriors.inference.predict import Classifier
from timm_vipriors.inference.tta import create_tta_transform

from .predicting import MODEL, SIZE, read, run


def config(model):
    return timm.data.resolve_data_config(
        dict(img_size=SIZE, crop_pct=0.9, mean=[0.4, 0.4, 0.4]), model=model, verbose=False
    )


def load_model(checkpoint, key='state_dict_ema'):
    model = timm.create_model(MODEL, num_classes=10)
    with torch.serialization.safe_globals([argparse.Namespace]):
        model.load_state_dict(torch.load(checkpoint, weights_only=True)[key])
    return model.double().eval()


def reference(model, paths, tta, train_config=None):
    """Mean of the softmax over the views, an image at a time."""
    data_config = config(model)
    transform = create_tta_transform(tta, data_config, train_config, seed=42)
    mean, std = (torch.tensor(data_config[key], dtype=torch.float64)[:, None, None] for key in ('mean', 'std'))
    rows = []
    for path in paths:
        with Image.open(path) as image:
            images = list(transform(image.convert('RGB')))
        if tta == 'hflip':
            images.append(images[0].flip(-1))
        with torch.no_grad():
            logits = model(torch.stack([(view.double() / 255 - mean) / std for view in images])).numpy()
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows.append((e / e.sum(axis=1, keepdims=True)).mean(axis=0))
    return np.array(rows)


@pytest.mark.parametrize('tta', ['none', 'hflip', 'ten-crop', 'randaug:3'])
def test_probabilities(tta, checkpoint, few_digits, tmp_path, capsys):
    out = tmp_path / 's.npz'
    run(few_digits, '--checkpoint', checkpoint, '-o', out, '--tta', tta, '--workers', 2, '-b', 7)
    data = read(out)
    root = few_digits / 'validation'
    paths = sorted(p for p in root.rglob('*.png'))
    assert data['filenames'].tolist() == [p.relative_to(root).as_posix() for p in paths]
    assert data['targets'].tolist() == [int(p.parent.name) for p in paths]
    assert data['class_names'].tolist() == list('0123456789')
    assert data['model'] == MODEL
    assert data['scores'].dtype == np.float32
    train_config = (
        dict(auto_augment='rand-m5', scale=(0.6, 1.0), hflip=0.0, color_jitter=0.0) if 'randaug' in tta else None
    )
    expected = reference(load_model(checkpoint), paths, tta, train_config)
    assert np.abs(data['scores'] - expected).max() < 2e-5
    assert expected.max() > 0.3  # not all alike
    top1 = 100 * (expected.argmax(1) == data['targets']).mean()
    line = capsys.readouterr().out.strip()
    assert line.startswith(f'{out}: 40 images')
    assert f'top-1 {top1:.2f} %, top-5 ' in line
    assert line.count('images/s') == 1


def test_batches_workers_and_seed(checkpoint, few_digits, tmp_path):
    common = [few_digits, '--checkpoint', checkpoint, '--tta', 'randaug:2']
    run(*common, '-o', tmp_path / 'a.npz', '--workers', 0, '-b', 40)
    run(*common, '-o', tmp_path / 'b.npz', '--workers', 2, '-b', 9)
    run(*common, '-o', tmp_path / 'c.npz', '--workers', 2, '--seed', 7)
    a, b, c = (read(tmp_path / f'{name}.npz')['scores'] for name in 'abc')
    assert np.abs(a - b).max() < 1e-5
    assert np.abs(a - c).max() > 1e-3
    run(*common, '-o', tmp_path / 'd.npz', '--workers', 1, '--aa', 'rand-m9-n5')
    assert np.abs(a - read(tmp_path / 'd.npz')['scores']).max() > 1e-3


def test_averaged_weights_and_precision(checkpoint, few_digits, tmp_path):
    common = [few_digits, '--checkpoint', checkpoint, '--workers', 1]
    paths = sorted((few_digits / 'validation').rglob('*.png'))
    for flag, key in (('--ema', 'state_dict_ema'), ('--no-ema', 'state_dict')):
        run(*common, '-o', tmp_path / 'ema.npz', flag, '--reparam', '--channels-last', '--force')
        expected = reference(load_model(checkpoint, key), paths, 'none')
        assert np.abs(read(tmp_path / 'ema.npz')['scores'] - expected).max() < 2e-5
    run(*common, '-o', tmp_path / 'amp.npz', '--amp', '--amp-dtype', 'bfloat16')
    difference = np.abs(read(tmp_path / 'amp.npz')['scores'] - reference(load_model(checkpoint), paths, 'none')).max()
    assert 1e-5 < difference < 0.1
    run(*common, '-o', tmp_path / 'size.npz', '--img-size', 40)  # a flag wins over the training's
    assert np.abs(read(tmp_path / 'size.npz')['scores'] - read(tmp_path / 'ema.npz')['scores']).max() > 1e-3


def test_images_without_classes(checkpoint, few_digits, tmp_path, capsys):
    flat = tmp_path / 'flat'
    flat.mkdir()
    for path in (few_digits / 'validation').rglob('*.png'):
        shutil.copy(path, flat / f'{path.parent.name}-{path.name}')
    run(few_digits, '--checkpoint', checkpoint, '-o', tmp_path / 'a.npz', '--workers', 1)
    run(flat, '--checkpoint', checkpoint, '-o', tmp_path / 'b.npz', '--workers', 1)
    assert capsys.readouterr().out.strip().endswith('; no targets')
    a, b = read(tmp_path / 'a.npz'), read(tmp_path / 'b.npz')
    assert 'targets' not in b
    assert 'class_names' not in b
    rows = {name.replace('/', '-'): row for name, row in zip(a['filenames'], a['scores'], strict=True)}
    assert all(np.allclose(rows[name], row, atol=1e-5) for name, row in zip(b['filenames'], b['scores'], strict=True))
    run(flat, '--checkpoint', checkpoint, '-o', tmp_path / 'c.npz', '--workers', 1, '--classes', few_digits / 'train')
    assert read(tmp_path / 'c.npz')['class_names'].tolist() == list('0123456789')
    # one folder of images, as the challenge's test set has
    (tmp_path / 'test').mkdir()
    shutil.copytree(flat, tmp_path / 'test' / 'imgs')
    run(tmp_path / 'test', '--checkpoint', checkpoint, '-o', tmp_path / 'd.npz', '--workers', 1)
    d = read(tmp_path / 'd.npz')
    assert 'targets' not in d
    assert d['filenames'][0].startswith('imgs/')


def test_folders_are_labels_only_where_they_are_classes(checkpoint, few_digits, tmp_path, capsys, caplog):
    data, out = tmp_path / 'data', tmp_path / 's.npz'
    shutil.copytree(few_digits / 'validation', data)
    (tmp_path / 'names.txt').write_text('\n'.join('0123456789'))
    flags = ['--checkpoint', checkpoint, '-o', out, '--force', '--workers', 1]
    named = [*flags, '--classes', tmp_path / 'names.txt']
    run(data, *flags)  # as many folders as classes, but the checkpoint does not name these
    assert 'targets' not in read(out)
    assert 'the class names of the model are not known' in caplog.text
    assert capsys.readouterr().out.strip().endswith('; no targets')
    shutil.rmtree(data / '0')
    shutil.copy(next((data / '3').iterdir()), data / 'x.png')
    run(data, *named)
    found = read(out)
    assert [int(t) for t in found['targets']] == [int(n[0]) if '/' in n else -1 for n in found['filenames']]
    assert '% of the 36 in the folder of a class' in capsys.readouterr().out
    (data / '9').rename(data / 'other')
    run(data, *named, code=2)
    assert 'data has 1 folder that the model has no class for (other)' in capsys.readouterr().err
    (data / 'x.png').unlink()
    for i, folder in enumerate(sorted(data.iterdir())):
        folder.rename(data / f'batch{i}')
    caplog.clear()
    run(data, *named)
    assert 'targets' not in read(out)
    assert 'no folder has the name of a class (batch0, batch1, batch2, batch3, batch4 and 4 more)' in caplog.text


def test_the_classes_of_the_data_where_the_checkpoint_names_none(checkpoint, few_digits, tmp_path, caplog):
    run(few_digits, '--checkpoint', checkpoint, '-o', tmp_path / 's.npz', '--workers', 1)
    assert 'the classes are taken to be those of' in caplog.text
    assert read(tmp_path / 's.npz')['class_names'].tolist() == list('0123456789')


def test_a_class_that_is_called_as_a_split(few_digits, tmp_path):
    for split in ('train', 'validation'):
        for i, name in enumerate(('bus', 'train', 'validation')):
            shutil.copytree(few_digits / split / str(i), tmp_path / 'data' / split / name)
    torch.save(timm.create_model(MODEL, num_classes=3).state_dict(), tmp_path / 'w.pth')
    flags = ['--model', MODEL, '--img-size', SIZE, '--checkpoint', tmp_path / 'w.pth', '--workers', 1]
    for root, classes in (('data', 'data/train'), ('data/validation', 'data/train'), ('data/validation', 'data')):
        out = ['-o', tmp_path / 's.npz', '--force']
        run(tmp_path / root, *flags, *out, '--classes', tmp_path / classes)
        found = read(tmp_path / 's.npz')
        assert found['class_names'].tolist() == ['bus', 'train', 'validation']
        assert np.bincount(found['targets']).tolist() == [4, 4, 4]


def test_names_with_a_backslash(checkpoint, few_digits, tmp_path):
    (tmp_path / 'images' / 'a').mkdir(parents=True)
    image = next((few_digits / 'validation').rglob('*.png'))
    for name in ('a/b.png', 'a\\b.png', 'c\r.png'):
        shutil.copy(image, tmp_path / 'images' / name)
    run(tmp_path / 'images', '--checkpoint', checkpoint, '-o', tmp_path / 's.npz', '--workers', 0)
    assert sorted(read(tmp_path / 's.npz')['filenames'].tolist()) == ['a/b.png', 'a\\b.png', 'c\r.png']


def test_a_size_wins_over_that_of_the_checkpoint(checkpoint, few_digits, tmp_path):
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(checkpoint, weights_only=True)
    content['args'].img_size, content['args'].input_size = None, [3, SIZE, SIZE]
    torch.save(content, tmp_path / 'input_size.pth')
    common = [few_digits, '--workers', 1, '--force', '-o', tmp_path / 's.npz', '--checkpoint']
    found = []
    for path in (checkpoint, tmp_path / 'input_size.pth'):
        for flags in ([], ['--img-size', 40], ['--input-size', 3, 40, 40]):
            run(*common, path, *flags)
            found.append(read(tmp_path / 's.npz')['scores'])
    own, img_size, input_size, *others = found
    assert np.abs(own - img_size).max() > 1e-3
    np.testing.assert_array_equal(img_size, input_size)
    np.testing.assert_array_equal(found[:3], others)


def test_as_a_function(checkpoint, few_digits):
    model = load_model(checkpoint).float()
    scores = Classifier(model.train(), config(model)).predict(str(few_digits), workers=1)
    assert not model.training
    paths = sorted((few_digits / 'validation').rglob('*.png'))
    assert np.abs(scores.scores - reference(load_model(checkpoint), paths, 'none')).max() < 2e-5
    with pytest.raises(ValueError, match='3 class names were given for a model of 10 classes'):
        Classifier(model, config(model), ['a', 'b', 'c']).predict(few_digits)


def test_grey_images_and_a_state_dict_alone(few_digits, tmp_path):
    model = timm.create_model('test_efficientnet', num_classes=10, in_chans=1)
    torch.save(model.state_dict(), tmp_path / 'w.pth')
    flags = ['--model', 'test_efficientnet', '--in-chans', 1, '--img-size', 32, '--workers', 1]
    run(few_digits, '--checkpoint', tmp_path / 'w.pth', *flags, '-o', tmp_path / 's.npz')
    assert read(tmp_path / 's.npz')['scores'].shape == (40, 10)


def test_agrees_with_the_evaluation_of_the_training(few_digits, tmp_path, monkeypatch, scripts, capsys):
    monkeypatch.chdir(tmp_path)
    flags = '--img-size 32 --epochs 1 -b 20 --workers 1 --warmup-epochs 0 --experiment r --crop-pct 1.0'.split()
    assert main(['train', str(few_digits), '--model', MODEL, *flags]) == 0
    capsys.readouterr()
    run(few_digits, '--checkpoint', 'output/train/r/last.pth.tar', '-o', 's.npz', '--workers', 1)
    line = capsys.readouterr().out
    last = (tmp_path / 'output' / 'train' / 'r' / 'summary.csv').read_text().splitlines()[-1].split(',')
    assert f'top-1 {float(last[3]):.2f} %, top-5 {float(last[4]):.2f} %' in line
