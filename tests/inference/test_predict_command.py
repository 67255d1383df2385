"""`timm-vipriors predict`: submissions, single images, decisions in a tree, and what it says of mistakes."""

import shutil

import numpy as np
import pytest
import timm
import torch

from timm_vipriors.hierarchy import ClassHierarchy, log_probabilities, tree_accuracy

from .predicting import MODEL, read, run


def test_a_submission(checkpoint, few_digits, tmp_path):
    """Of labelled folders and of a flat one; its classes are those of the scores."""
    flat, named, csv = tmp_path / 'flat', ['--classes', few_digits / 'train'], tmp_path / 's.csv'
    flat.mkdir()
    for path in (few_digits / 'validation').rglob('*.png'):
        shutil.copy(path, flat / f'{path.parent.name}-{path.name}')
    common = ['--checkpoint', checkpoint, '--workers', 1, *named]
    run(flat, *common, '--submission', csv, '-o', tmp_path / 's.npz')
    data = read(tmp_path / 's.npz')
    best = data['scores'].argmax(1).tolist()
    assert len(set(best)) > 1
    rows = [f'{name},{index}' for name, index in zip(data['filenames'], best, strict=True)]
    assert csv.read_text().splitlines() == ['id,label', *rows]  # the digits' names are their indices
    (tmp_path / 'names.txt').write_text('\n'.join('zyxwvutsrq'))
    other = ['--checkpoint', checkpoint, '--workers', 1, '--classes', tmp_path / 'names.txt', '--force']
    run(flat, *other, '--submission', csv)
    rows = [f'{name},{"zyxwvutsrq"[index]}' for name, index in zip(data['filenames'], best, strict=True)]
    assert csv.read_text().splitlines() == ['id,label', *rows]
    run(flat, *other, '--submission', csv, '--columns', 'Image,Class', '--labels', 'indices')
    assert csv.read_text().splitlines()[:2] == ['Image,Class', f'{data["filenames"][0]},{best[0]}']


def test_image_files_and_a_tree(checkpoint, few_digits, tmp_path, capsys):
    """The three best classes as the score file has them, and the path of hard inference."""
    names = list('0123456789')
    tree = ClassHierarchy.from_groups({n: ['low' if int(n) < 5 else 'high'] for n in reversed(names)})
    tree.save(tmp_path / 'tree.json')
    common = ['--checkpoint', checkpoint, '--classes', few_digits / 'train', '--hierarchy', tmp_path / 'tree.json']
    run(few_digits, *common, '--workers', 1, '-o', tmp_path / 's.npz')
    table, data = capsys.readouterr().out, read(tmp_path / 's.npz')
    logits = log_probabilities(data['scores'])
    assert str(tree_accuracy(logits, data['targets'], tree.reordered(names))) in table
    rows = [0, 17, 39]
    run(*(few_digits / 'validation' / data['filenames'][row] for row in rows), *common)
    lines = capsys.readouterr().out.splitlines()
    for row, line, way in zip(rows, lines[::2], lines[1::2], strict=True):
        path, _, said = line.rpartition(': ')
        assert path.endswith(data['filenames'][row])
        found = [part.split() for part in said.split(', ')]
        assert [int(name) for name, _, unit in found if unit == '%'] == np.argsort(-data['scores'][row])[:3].tolist()
        assert [float(p) for _, p, _ in found] == pytest.approx(np.sort(100 * data['scores'][row])[:-4:-1], abs=0.006)
        halves = np.exp([logits[row, :5].mean(), logits[row, 5:].mean()])
        half = halves.argmax()
        assert f'in the tree: {["low", "high"][half]} {100 * halves[half] / halves.sum():.2f} % → ' in way
        assert way.split()[-3] == str(5 * half + logits[row, 5 * half : 5 * half + 5].argmax())


@pytest.mark.parametrize(
    ('data', 'flags', 'message'),
    [
        ('DATA', '-o taken.npz', 'taken.npz exists: name another file, or overwrite it with --force'),
        ('DATA', '-o nowhere/s.npz', 'nowhere/s.npz cannot be written: there is no folder nowhere'),
        ('DATA', '-o s.csv', 's.csv: the name of a score file must end in .npz'),
        ('DATA', '-o s.npz --tta flip', "expected none, hflip, ten-crop or randaug:N with N in 1 … 9999, got 'flip'"),
        ('DATA', '-o s.npz --model resnet99', "unknown model 'resnet99'"),
        ('DATA', '-o s.npz -b 0', 'batch_size should be a positive integer value'),
        ('DATA', '-o s.npz --pretrained', 'give the weights: --checkpoint FILE, or --pretrained'),
        ('DATA', '-o s.npz --classes names.txt', '1 class names were given for a model of 10 classes'),
        ('DATA', '-o s.npz --classes missing.txt', 'missing.txt'),
        ('DATA', '', 'is a folder: add -o scores.npz or --submission submission.csv'),
        ('IMAGE', '--submission s.csv', '-o and --submission need a folder'),
        ('DATA IMAGE', '-o s.npz', 'expected either one folder or image files'),
        ('IMAGE missing.png', '', 'the data folder or image missing.png does not exist'),
        ('DATA', '--submission s.npz', 's.npz is to be a CSV file'),
        ('FLAT', '--submission s.csv', 'the names of the classes are not known: give --classes FILE'),
        ('FLAT', '--classes DATA/train --hierarchy tree.json', 'has no labels to measure the tree by'),
        ('IMAGE', '--hierarchy tree.json', '--hierarchy needs the names of the classes'),
        ('IMAGE', '--classes DATA/train --hierarchy other.json', 'not known are'),
    ],
)
def test_mistakes(data, flags, message, checkpoint, few_digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'DATA').symlink_to(few_digits)
    image = next((few_digits / 'validation').rglob('*.png'))
    (tmp_path / 'FLAT').mkdir()
    for path in ('IMAGE', 'FLAT/x.png'):
        shutil.copy(image, tmp_path / path)
    ClassHierarchy([10] * 10 + [-1]).save('tree.json')
    ClassHierarchy([2, 2, -1]).save('other.json')
    (tmp_path / 'taken.npz').write_text('kept')
    (tmp_path / 'names.txt').write_text('one\n')
    before = set(tmp_path.iterdir())
    run(*data.split(), '--checkpoint', checkpoint, '--workers', 0, *flags.split(), code=2)
    err = capsys.readouterr().err
    assert 'Traceback' not in err
    assert message in err.splitlines()[-1]
    assert set(tmp_path.iterdir()) == before
    assert (tmp_path / 'taken.npz').read_text() == 'kept'


def test_more_mistakes(checkpoint, few_digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def fails(*argv):
        run(*argv, '-o', 's.npz', code=2)
        assert not (tmp_path / 's.npz').exists()
        return capsys.readouterr().err.splitlines()[-1]

    assert 'the data folder or image nowhere does not exist' in fails('nowhere', '--checkpoint', checkpoint)
    assert 'give the weights' in fails(few_digits)
    assert 'none.pth' in fails(few_digits, '--checkpoint', 'none.pth')
    torch.save(timm.create_model(MODEL, num_classes=10).state_dict(), 'bare.pth')
    assert 'bare.pth does not say which model it is of' in fails(few_digits, '--checkpoint', 'bare.pth')
    assert '--pretrained needs a --model' in fails(few_digits, '--pretrained')
    unknown = fails(few_digits, '--checkpoint', checkpoint, '--torchcompile', 'nonsense')
    assert "error: --torchcompile nonsense: Invalid backend: 'nonsense'" in unknown
    shutil.copytree(few_digits, 'data')
    path = sorted((tmp_path / 'data' / 'validation' / '3').iterdir())[1]
    path.write_bytes(path.read_bytes()[:50])
    for workers in (0, 1):
        line = fails('data', '--checkpoint', checkpoint, '--workers', workers)
        assert line.startswith(f'timm-vipriors predict: error: data/validation/3/{path.name} cannot be decoded')
    shutil.rmtree('data/validation')
    (tmp_path / 'empty').mkdir()
    assert 'error: no images in empty: ' in fails('empty', '--checkpoint', checkpoint)
