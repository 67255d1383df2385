"""A classifier is what the checkpoint says: loaded again it gives what the trained model gave."""

import argparse
import os

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from timm_vipriors.checkpoint import DESCRIPTION
from timm_vipriors.inference.classifier import load_classifier

MODEL = 'test_dsk_resnext'
NAMES = ['zebra', 'Apple', 'cat', 'b10', 'b9']  # in no order that sorting gives
SETTINGS = dict(
    input_size=[3, 40, 36], mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.25], interpolation='bilinear', crop_pct=0.8,
    crop_mode='center',
)  # fmt: skip


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    model = timm.create_model(MODEL, num_classes=5, global_pool='avgmax').train()
    torch.nn.init.normal_(model.get_classifier().weight)
    with torch.no_grad():
        model(torch.randn(16, 3, 36, 36))  # BatchNorm statistics
    return model.eval()


@pytest.fixture
def described(network, tmp_path):
    """A checkpoint as our runs write it."""
    about = dict(SETTINGS, model=MODEL, num_classes=5, in_chans=3, gp='avgmax', model_kwargs={}, class_names=NAMES)
    path = tmp_path / 'run' / 'model_best.pth.tar'
    path.parent.mkdir()
    torch.save({'state_dict': network.state_dict(), 'arch': MODEL, DESCRIPTION: about}, path)
    return path


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    Image.fromarray(np.random.default_rng(0).integers(256, size=(50, 70, 3), dtype=np.uint8)).save(path)
    return path


def expected(network, photo, **changes):
    """Class names with probabilities by timm alone."""
    config = {**SETTINGS, **changes}
    transform = timm.data.create_transform(**config)
    with torch.no_grad():
        probs = network(transform(Image.open(photo))[None])[0].softmax(0).tolist()
    return dict(sorted(zip(NAMES, probs, strict=True), key=lambda pair: -pair[1]))


def assert_same(found, wanted):
    assert list(found) == list(wanted)  # the best first
    assert found == pytest.approx(wanted, abs=1e-5)


def test_all_comes_from_the_checkpoint(described, network, photo):
    wanted = expected(network, photo)
    for path in (described, str(described), described.parent):
        classifier = load_classifier(path)
        assert_same(classifier(photo), wanted)
    assert (classifier.class_names, classifier.model_name) == (NAMES, MODEL)
    assert {key: classifier.data_config[key] for key in SETTINGS} == {
        key: tuple(value) if isinstance(value, list) else value for key, value in SETTINGS.items()
    }
    assert not classifier.model.training
    with torch.no_grad():
        logits = classifier.model(classifier.transform(Image.open(photo))[None])
    assert logits.softmax(1).max().item() == pytest.approx(max(wanted.values()), abs=1e-5)


def test_images_of_all_kinds(described, photo, tmp_path):
    classifier = load_classifier(described).to('cpu')
    found = classifier([photo, Image.open(photo), str(photo)])
    assert found == [classifier(photo)] * 3
    mirrored = classifier(photo, tta='hflip')
    assert mirrored != found[0]
    assert_same(classifier(Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT), tta='hflip'), mirrored)
    assert classifier([]) == []


def test_a_setting_wins_over_the_checkpoint(described, network, photo):
    wanted = expected(network, photo, input_size=(3, 48, 48), crop_pct=1.0)
    assert_same(load_classifier(described, img_size=48, crop_pct=1.0)(photo), wanted)


def test_a_folder_of_images(described, photo, tmp_path):
    for name in ('cat', 'b9'):
        (tmp_path / 'data' / name).mkdir(parents=True)
        Image.open(photo).save(tmp_path / 'data' / name / 'x.png')
    classifier = load_classifier(described)
    scores = classifier.predict(tmp_path / 'data', workers=0)
    assert scores.filenames.tolist() == ['b9/x.png', 'cat/x.png']
    assert scores.targets.tolist() == [4, 2]
    assert scores.class_names.tolist() == NAMES
    assert dict(zip(NAMES, scores.scores[0].tolist(), strict=True)) == pytest.approx(classifier(photo))


@pytest.mark.parametrize('form', ['own', 'safetensors', 'bin'])
def test_a_fused_model_is_saved_and_loaded(described, network, photo, tmp_path, form):
    fused = load_classifier(described, fuse=True)
    assert len(fused.model.state_dict()) < len(network.state_dict())
    assert_same(fused(photo), expected(network, photo))
    path = tmp_path / 'fused.pth.tar'
    if form == 'own':
        fused.save(path)
    else:
        path = tmp_path / 'hub'
        timm.models.save_for_hf(fused.model, path, {'label_names': NAMES}, safe_serialization=form == 'safetensors')
    again = load_classifier(path)
    assert again.model.state_dict().keys() == fused.model.state_dict().keys()
    assert again(photo) == fused(photo)


@pytest.mark.parametrize('safe', [True, False])
@pytest.mark.parametrize('prefix', ['', 'local-dir:'])
def test_a_local_hub_folder(described, network, photo, tmp_path, safe, prefix):
    """timm's own functions write what the checkpoint says, too."""
    folder = tmp_path / 'hub'
    classifier = load_classifier(described)
    timm.models.save_for_hf(classifier.model, folder, {'label_names': NAMES}, safe_serialization=safe)
    assert_same(load_classifier(f'{prefix}{folder}')(photo), expected(network, photo))
    theirs = timm.create_model(f'local-dir:{folder}', pretrained=True)
    config = timm.data.resolve_data_config(model=theirs)
    assert {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()} == classifier.data_config
    assert theirs.pretrained_cfg['label_names'] == NAMES


def test_a_checkpoint_of_timms_script(network, photo, tmp_path):
    args = argparse.Namespace(model=MODEL, num_classes=5, gp='avgmax', img_size=36, input_size=None, crop_pct=0.8)
    torch.save({'state_dict': network.state_dict(), 'arch': MODEL, 'args': args}, tmp_path / 'last.pth.tar')
    classifier = load_classifier(tmp_path / 'last.pth.tar')
    assert (classifier.class_names, classifier.data_config['crop_pct']) == (None, 0.8)
    assert set(classifier(photo)) == set('01234')  # without names the indices
    named = load_classifier(tmp_path / 'last.pth.tar', class_names=NAMES)
    assert list(named(photo).values()) == list(classifier(photo).values())
    args.class_map = 'classes.txt'  # an order that no folder shows
    torch.save({'state_dict': network.state_dict(), 'arch': MODEL, 'args': args}, tmp_path / 'last.pth.tar')
    with pytest.raises(ValueError, match=r'trained with a --class-map.*--classes'):
        load_classifier(tmp_path / 'last.pth.tar')


@pytest.mark.parametrize('prefix', ['module.', 'model.', 'net.', 'model._orig_mod.', 'timm_model.'])
def test_weights_in_a_wrapper(network, photo, tmp_path, prefix):
    state = {f'{prefix}{key}': value for key, value in network.state_dict().items()}
    other = {} if prefix in ('module.', 'timm_model.') else {'criterion.centers': torch.zeros(5, 3)}
    if prefix == 'timm_model.':  # keys in alphabetical order, so the classifier is not the last layer
        save_file(state, tmp_path / 'w.safetensors')
        path = tmp_path / 'w.safetensors'
    else:
        torch.save({'state_dict': {**other, **state}, 'epoch': 3, 'pytorch-lightning_version': '2.5'}, tmp_path / 'w')
        path = tmp_path / 'w'
    settings = {key: value for key, value in SETTINGS.items() if key != 'input_size'}
    classifier = load_classifier(path, model=MODEL, gp='avgmax', input_size=(3, 40, 36), class_names=NAMES, **settings)
    assert_same(classifier(photo), expected(network, photo))


def test_published_weights_know_imagenets_classes(monkeypatch):
    monkeypatch.setattr('timm.is_model_pretrained', lambda name: True)
    create = timm.create_model
    monkeypatch.setattr('timm.create_model', lambda *args, pretrained, **kwargs: create(*args, **kwargs))
    assert load_classifier(None, model='test_resnet').class_names[0] == 'n01440764'


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(class_names=sorted(NAMES)), 'has the classes zebra, Apple, .*leave --classes out'),
        (dict(model='test_resnet'), 'checkpoint of test_dsk_resnext with 5 classes, which does not fit --model test_r'),
        (dict(num_classes=3), 'which does not fit --model test_dsk_resnext with 3 classes'),
        (dict(model_kwargs={'x': 1}), 'cannot be made with these settings'),
        (dict(model='nothing'), 'the model nothing cannot be made'),
        (dict(use_ema=True), 'no averaged weights'),
        (dict(in_chans=1, mean=[0.5], std=[0.5]), 'does not fit --model'),
        (dict(in_chans=1, input_size=(3, 32, 32)), 'does not fit 1 channels'),
        (dict(input_size=(3, 32)), 'does not fit 3 channels'),
        (dict(crop_pct=0.0), '--crop-pct must be above 0, got 0.0'),
        (dict(img_size=0), '--img-size must be above 0, got 0'),
        (dict(mean=[1.0, 2.0]), '--mean: expected one number, or one for each of 3 channels'),
        (dict(std=[0.0]), 'cannot classify images with .*its output is not finite'),
        (dict(interpolation='x'), 'cannot classify images with .*interpolation x'),
        (dict(crop_mode='x'), '--crop-mode must be center, squash or border'),
    ],
)
def test_settings_that_do_not_fit(described, settings, message):
    with pytest.raises(ValueError, match=message):
        load_classifier(described, **settings)


def test_unknown_settings_and_missing_files(described, tmp_path):
    with pytest.raises(TypeError, match='unknown settings size'):
        load_classifier(described, size=3)
    with pytest.raises(FileNotFoundError, match='nowhere does not exist'):
        load_classifier(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='has no checkpoint: expected model_best'):
        load_classifier(tmp_path)
    with pytest.raises(ValueError, match='does not say which model'):
        load_classifier(None)
    with pytest.raises(ValueError, match='no published weights for test_dsk_resnext'):
        load_classifier(None, model=MODEL)


def test_averaged_weights_are_the_default_as_in_timm(described, network, photo, tmp_path):
    content = torch.load(described, weights_only=True)
    averaged = {key: value * 0.9 if 'fc' in key else value for key, value in network.state_dict().items()}
    torch.save({**content, 'state_dict_ema': averaged}, described)
    theirs = timm.create_model(MODEL, num_classes=5, global_pool='avgmax', checkpoint_path=str(described)).eval()
    wanted = expected(theirs, photo)
    assert wanted != expected(network, photo)
    assert_same(load_classifier(described)(photo), wanted)
    assert_same(load_classifier(described, use_ema=True)(photo), wanted)
    assert_same(load_classifier(described, use_ema=False)(photo), expected(network, photo))


def test_from_the_hub(described, network, photo, tmp_path, monkeypatch):
    """What timm's `push_to_hf_hub` uploads, the folder of its `save_for_hf`, fetched by the hub's own function."""
    hub = tmp_path / 'hub'
    model = load_classifier(described).model
    timm.models.save_for_hf(model, hub, {'label_names': NAMES}, safe_serialization='both')
    asked = []

    def download(repo_id, allow_patterns):
        asked.append(repo_id)
        assert {'config.json', 'model.safetensors'} <= set(allow_patterns) <= set(os.listdir(hub))
        if repo_id != 'me/photos':
            raise RuntimeError('404')
        return str(hub)

    monkeypatch.setattr('huggingface_hub.snapshot_download', download)
    assert_same(load_classifier('hf-hub:me/photos')(photo), expected(network, photo))
    with pytest.raises(ValueError, match='hf-hub:me/other cannot be fetched: 404'):
        load_classifier('hf-hub:me/other')
    assert asked == ['me/photos', 'me/other']
