"""With every family of timm's models: a criterion that sees features gets the classifier's, and the model's own logits.

What follows the features in a model (dropout, a norm, a second head) must not be left out in training.
"""

import gc

import pytest
import timm
import torch
from torch import nn

from timm_vipriors.task import FeatureModule, feature_dim, get_classifier

SMALLEST = {  # of each family, by its number of parameters; some take another one that is special
    'beit': 'beit_base_patch16_224',
    'byoanet': 'halonet_h1',
    'byobnet': 'test_byobnet',
    'cait': 'cait_xxs24_224',
    'coat': 'coat_tiny',
    'convit': 'convit_tiny',
    'convmixer': 'convmixer_768_32',
    'convnext': 'test_convnext',
    'cpubone': 'cpubone_nano',
    'crossvit': 'crossvit_tiny_240',
    'csatv2': 'csatv2',
    'cspnet': 'cs3darknet_focus_s',
    'cspnext': 'cspnext_tiny',
    'davit': 'davit_tiny',
    'deepseek_vit': 'deepseek_vit_412m',
    'deit': 'deit_tiny_distilled_patch16_224',
    'densenet': 'densenet121',
    'dla': 'dla46x_c',
    'dpn': 'dpn48b',
    'edgenext': 'edgenext_xx_small',
    'efficientformer': 'efficientformer_l1',
    'efficientformer_v2': 'efficientformerv2_s0',
    'efficientnet': 'test_efficientnet',
    'efficientvim': 'efficientvim_m1',
    'efficientvit_mit': 'efficientvit_b0',
    'efficientvit_msra': 'efficientvit_m0',
    'eva': 'vit_tiny_patch16_dinov3_qkvb',
    'fasternet': 'fasternet_t0',
    'fastvit': 'fastvit_t8',
    'focalnet': 'focalnet_tiny_srf',
    'gcvit': 'gcvit_xxtiny',
    'gemma4_vit': 'gemma4_vit_167m_enc',
    'ghostnet': 'ghostnet_050',
    'hardcorenas': 'hardcorenas_b',
    'hgnet': 'hgnetv2_b0',
    'hiera': 'hiera_tiny_224',
    'hieradet_sam2': 'sam2_hiera_tiny',
    'hrnet': 'hrnet_w18_small',
    'iformer': 'iformer_t',
    'inception_next': 'inception_next_atto',
    'inception_resnet_v2': 'inception_resnet_v2',
    'inception_v3': 'inception_v3',
    'inception_v4': 'inception_v4',
    'lcnetv2': 'lcnetv2_small',
    'levit': 'levit_128s',
    'lowformer': 'lowformer_b0',
    'mambaout': 'test_mambaout',
    'maxxvit': 'test_coatnet',
    'metaformer': 'poolformerv2_s12',
    'mlp_mixer': 'gmlp_ti16_224',
    'mobilenetv3': 'lcnet_035',
    'mobilenetv5': 'mobilenetv5_base',
    'mobilevit': 'mobilevit_xxs',
    'mvitv2': 'mvitv2_tiny',
    'naflexvit': 'naflexvit_base_patch16_parfac_gap',
    'nasnet': 'nasnetalarge',
    'nest': 'nest_tiny',
    'nextvit': 'nextvit_small',
    'nfnet': 'test_nfnet',
    'pit': 'pit_ti_224',
    'pnasnet': 'pnasnet5large',
    'pvt_v2': 'pvt_v2_b0',
    'qwen3_vit': 'qwen3_vit_88m',
    'rdnet': 'rdnet_tiny',
    'regnet': 'regnetx_002',
    'repghost': 'repghostnet_050',
    'repvit': 'repvit_m1',
    'res2net': 'res2next50',
    'resnest': 'resnest14d',
    'resnet': 'test_resnet',
    'resnetv2': 'resnetv2_18',
    'rexnet': 'rexnet_100',
    'selecsls': 'selecsls42',
    'senet': 'legacy_seresnet18',
    'sequencer': 'sequencer2d_s',
    'shvit': 'shvit_s1',
    'sknet': 'skresnet18',
    'starnet': 'starnet_s050',
    'swiftformer': 'swiftformer_xs',
    'swin_transformer': 'swin_tiny_patch4_window7_224',
    'swin_transformer_v2': 'swinv2_tiny_window8_256',
    'swin_transformer_v2_cr': 'swinv2_cr_tiny_224',
    'tiny_vit': 'tiny_vit_5m_224',
    'tnt': 'tnt_s_legacy_patch16_224',
    'tresnet': 'tresnet_m',
    'twins': 'twins_svt_small',
    'vgg': 'vgg11',
    'visformer': 'visformer_tiny',
    'vision_transformer': 'test_vit',
    'vision_transformer_hybrid': 'vit_tiny_r_s16_p8_224',
    'vision_transformer_relpos': 'test_vit_relpos',
    'vision_transformer_sam': 'samvit_base_patch16_224',
    'vitamin': 'vitamin_small_224',
    'volo': 'volo_d1_224',
    'vovnet': 'ese_vovnet19b_slim_dw',
    'xception': 'legacy_xception',
    'xception_aligned': 'xception41p',
    'xcit': 'xcit_nano_12_p8_224',
}
DEFAULT = (
    'crossvit deit dla dpn efficientvit_msra efficientnet levit mambaout nfnet resnet resnetv2 shvit vision_transformer'
).split()
NONE_OR_SEVERAL = (
    'crossvit deit efficientformer efficientformer_v2 efficientvim gemma4_vit levit swiftformer'  # classifiers
).split()
MAPS = ('sequencer', 'vision_transformer_sam')  # the classifier, if any, sees all pixels
OWN_SIZE = ('byoanet', 'deepseek_vit')  # nothing else


def families():
    """A parameter for each family that this version of timm has, most of them marked slow."""
    for family in sorted(set(timm.list_modules()) - {'dsk_resnext'}):
        names = timm.list_models(module=family)
        name = SMALLEST.get(family) if SMALLEST.get(family) in names else min(names, key=len)
        marks = () if family in DEFAULT else pytest.mark.slow
        yield pytest.param(family, name, marks=marks, id=name)


@pytest.fixture(autouse=True)
def collected():
    """Models and graphs refer to themselves: the next model must not find them in memory."""
    yield
    gc.collect()


class FeatureLoss(nn.Module):
    needs_features = True


def make(name, own_size=False):
    """A model in training with dropout before its classifier, and two images for it."""
    torch.manual_seed(0)
    try:
        model = timm.create_model(name, num_classes=5, drop_rate=0.3)
    except TypeError:
        model = timm.create_model(name, num_classes=5)
    cfg = model.pretrained_cfg
    own_size = own_size or cfg.get('fixed_input_size') or cfg['input_size'][1] <= 96
    size = cfg['input_size'][1:] if own_size else (96, 96)
    return model.train(), torch.randn(2, 3, *size)


@pytest.mark.parametrize(('family', 'name'), list(families()))
@pytest.mark.filterwarnings('ignore')
def test_logits_are_the_models_and_features_the_classifiers_input(family, name):
    model, x = make(name, family in OWN_SIZE)
    if family in NONE_OR_SEVERAL:
        with pytest.raises(ValueError, match=r'expected a timm model with one classifier, got .* none or several'):
            FeatureModule(model, FeatureLoss())
        return
    if family in MAPS:
        with pytest.raises(ValueError, match=r'needs features \(B, D\): .* got \(2, \d+, \d+, \d+\)'):
            FeatureModule(model, FeatureLoss())(x)
        return
    with torch.set_grad_enabled(family not in OWN_SIZE):  # whose graphs would take gigabytes
        _compare(model, x)


def _compare(model, x):
    seen = []
    get_classifier(model).register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    module = FeatureModule(model, FeatureLoss())
    torch.manual_seed(1)
    expected = model(x)
    torch.manual_seed(1)
    logits, features = module(x)
    assert torch.equal(logits, expected)
    assert torch.equal(features, seen[1].flatten(1))
    assert features.shape == (2, feature_dim(model))
    assert features.requires_grad == torch.is_grad_enabled()
    if getattr(model, 'drop_rate', 0):
        assert not torch.equal(logits, model(x))  # of other random numbers
