"""A score file in the hands of other libraries: they find in it what our commands say of it."""

import re
from html import unescape

import numpy as np
import pytest
import timm.utils
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassConfusionMatrix

from timm_vipriors.cli import main
from timm_vipriors.inference import ScoreFile
from timm_vipriors.report.measures import CALIBRATION_BINS, Predictions


@pytest.fixture
def predicted(trained, digits, tmp_path, capsys):
    """Predict with the command and return the score file and what was printed."""

    def predict(*flags):
        path = tmp_path / f'{len(list(tmp_path.iterdir()))}.npz'
        assert main(['predict', str(digits), '--checkpoint', str(trained.checkpoint), '-o', str(path), *flags]) == 0
        return path, capsys.readouterr().out

    return lambda *flags: predict('--workers', '1', *flags)


def printed(out):
    """Top-1 and top-5 of a line of `predict`, in percent."""
    return tuple(float(x) for x in re.search(r'top-1 ([\d.]+) %, top-5 ([\d.]+) %', out).groups())


@pytest.mark.parametrize('tta', ['none', 'hflip'])
def test_accuracy(tta, predicted):
    path, out = predicted('--tta', tta)
    with np.load(path) as file:
        scores, targets = torch.from_numpy(file['scores']), torch.from_numpy(file['targets'])
    assert scores.shape == (1297, 10)
    top1, top5 = printed(out)
    assert 20 < top1 < top5  # mirrored digits are hard
    for k, expected in ((1, top1), (5, top5)):
        metric = MulticlassAccuracy(num_classes=10, top_k=k, average='micro')
        assert 100 * metric(scores, targets).item() == pytest.approx(expected, abs=0.0051)
    for value, expected in zip(timm.utils.accuracy(scores, targets, topk=(1, 5)), (top1, top5), strict=True):
        assert value.item() == pytest.approx(expected, abs=0.0051)


def test_the_scores_are_the_softmax_of_the_network(predicted, trained):
    path, out = predicted()
    scores = np.load(path)['scores']  # the one line that reads them
    with torch.no_grad():
        logits = trained.model(trained.inputs)
    assert np.abs(scores - logits.softmax(1).numpy()).max() < 1e-5
    assert printed(out)[0] == pytest.approx(timm.utils.accuracy(logits, trained.targets)[0].item(), abs=0.0051)
    assert printed(out)[0] > 80


def test_calibration_and_confusion_of_the_report(predicted, tmp_path):
    path, _ = predicted()
    with np.load(path, allow_pickle=False) as file:
        scores, targets = torch.from_numpy(file['scores']), torch.from_numpy(file['targets'])
    assert main(['report', str(path), '-o', str(tmp_path / 'report.html')]) == 0
    page = unescape(re.sub(r'<[^>]+>', ' ', (tmp_path / 'report.html').read_text()))
    error = float(re.search(r'Calibration error\s+([\d.]+)\s*%', page)[1])
    metric = MulticlassCalibrationError(num_classes=10, n_bins=CALIBRATION_BINS, norm='l1')
    assert error > 0.3
    assert 100 * metric(scores, targets).item() == pytest.approx(error, abs=0.0051)
    confusion = MulticlassConfusionMatrix(num_classes=10)(scores, targets)
    assert confusion.trace() < confusion.sum() == 1297
    assert np.array_equal(confusion.numpy(), Predictions.of(ScoreFile.open(path).load()).confusion()[0])
