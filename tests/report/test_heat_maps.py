"""Grad-CAM beside the most confident mistakes, where the network that made the scores is at hand."""

import re

import pytest
import timm
import torch

from timm_vipriors.checkpoint import DESCRIPTION
from timm_vipriors.errors import UserError
from timm_vipriors.inference.classifier import load_classifier
from timm_vipriors.report import build_report

from .html import build
from .samples import HEADER, write_run

NAMES = [str(i) for i in range(10)]


def save_run(folder, seed, model='test_resnet', names=NAMES, sign=1):
    write_run(folder, HEADER, '0,1,2,3,4,5')
    torch.manual_seed(seed)
    network = timm.create_model(model, num_classes=len(names))
    with torch.no_grad():
        network.get_classifier().weight.normal_().mul_(sign)
    about = dict(model=model, num_classes=len(names), class_names=names, input_size=[3, 32, 32])
    torch.save({'state_dict': network.state_dict(), DESCRIPTION: about}, folder / 'last.pth.tar')
    return folder


@pytest.fixture
def run(tmp_path, few_digits):
    folder = save_run(tmp_path / 'run', 0)
    load_classifier(folder).predict(few_digits, workers=0).save(tmp_path / 's.npz')
    return folder


def notes(text):
    """The sentence on Grad-CAM and the number of its pictures."""
    return re.search(r'<p class="lead">(Grad-CAM .*?)</p>', text)[1], text.count('alt="What speaks for')


def test_the_network_of_the_run_explains_its_mistakes(run, tmp_path, few_digits):
    images = few_digits / 'validation'
    text = build(run, tmp_path / 's.npz', images=images)
    said, pictures = notes(text)
    assert said.startswith(f'Grad-CAM of {run}: bright is') and 'in 24 of 24 images' in said and pictures == 24
    named = build(tmp_path / 's.npz', images=images, checkpoint=run / 'last.pth.tar')
    assert re.findall('<img src="(.*?)" alt="What', named) == re.findall('<img src="(.*?)" alt="What', text)[:24]


@pytest.mark.parametrize(
    ('others', 'sentence'),
    [
        ([dict(model='test_efficientnet')], 'no runs here have a checkpoint of this model; name it with --checkpoint'),
        ([dict(names=NAMES[:9])], 'no runs here'),
        ([dict(names=NAMES[::-1])], 'has other classes than the scores'),
        ([dict(seed=0), dict(seed=1)], '2 runs here'),
        ([dict(seed=0, sign=-1)], 'so they are not of its network'),
    ],
)
def test_another_network_does_not(run, tmp_path, few_digits, others, sentence):
    runs = [save_run(tmp_path / f'other{i}', **{'seed': 7, **about}) for i, about in enumerate(others)]
    said, pictures = notes(build(*runs, tmp_path / 's.npz', images=few_digits / 'validation'))
    assert sentence in said and pictures == 0


def test_a_network_without_maps_says_so(tmp_path, few_digits):
    folder = save_run(tmp_path / 'vit', 0, 'test_vit3')
    classifier = load_classifier(folder, img_size=160)
    classifier.save(folder / 'last.pth.tar')
    classifier.predict(few_digits, workers=0).save(tmp_path / 'vit.npz')
    said, pictures = notes(build(folder, tmp_path / 'vit.npz', images=few_digits / 'validation'))
    assert 'needs a network with feature maps' in said and pictures == 0


def test_images_that_are_not_there(run, tmp_path):
    (tmp_path / 'empty').mkdir()
    said, pictures = notes(build(run, tmp_path / 's.npz', images=tmp_path / 'empty'))
    assert 'none of the images can be read' in said and pictures == 0


def test_a_checkpoint_needs_images_to_draw_on(run, tmp_path):
    with pytest.raises(UserError, match='name their folder with --images'):
        build_report([tmp_path / 's.npz'], checkpoint=run)
