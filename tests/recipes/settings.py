"""What the papers and the authors' files say of each row, by the names of timm's arguments, and the papers' scores.

Typed from the papers' tables; (not in the paper) marks what we chose, (inferred) what follows from their numbers.
"""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """A row of a table: its settings, the paper's top-1 accuracy in percent, and the row that it is compared with."""

    settings: dict[str, Any]
    score: float | None = None
    compare: str = ''


# VIPF §4.1
VIPF = dict(
    batch_size=64,  # on each of 16 GPUs
    amp=True,  # (not in the paper)
    opt='sgd',
    momentum=0.9,  # (not in the paper)
    weight_decay=1e-4,
    sched='cosine',
    lr_base=0.1,
    lr_base_size=16 * 64,
    warmup_epochs=5,
    warmup_lr=1e-4,
    color_jitter=0.0,  # crop and flip are all
    cutmix=1.0,
    mixup_prob=0.5,
    smoothing=0.1,  # the amount is (not in the paper)
    drop=0.2,
    crop_pct=0.875,  # (not in the paper)
    crop_mode='center',  # (not in the paper)
)
LAST_BATCHNORM = {'model_kwargs': {'zero_init_last': True}}  # (not in the paper)

# output/train/*/args.yaml of github.com/byeongjokim/VIPriors-Image-Classification-Challenge
KIM = dict(
    epochs=450,  # cooldown_epochs is 10, which a step schedule ignores
    amp=True,
    opt='rmsproptf',
    opt_eps=0.001,
    momentum=0.9,
    weight_decay=1e-5,
    sched='step',
    lr=0.016,
    decay_epochs=2.4,
    decay_rate=0.97,
    warmup_epochs=3,
    warmup_lr=1e-6,
    min_lr=1e-5,
    drop=0.3,
    drop_path=0.2,  # drop_connect then
    model_ema=True,
    model_ema_decay=0.9999,
    model_ema_warmup=True,  # (not in the paper)
    aa='rand-m9-mstd0.5',
    color_jitter=0.4,
    reprob=0.2,
    remode='pixel',
    dist_bn='',
    crop_mode='center',  # timm in 2020 had no other
    criterion='focal-cosine',
    criterion_kwargs={'xent_weight': 0.1, 'gamma': 2},  # λ and γ, §3.1
    smoothing=0.0,  # 0.1 in the file, which the criterion ignored
)


def _table1(model: str, criterion: str = 'ce', **more: Any) -> dict[str, Any]:
    # 224 pixels are (not in the paper)
    return dict(VIPF, **LAST_BATCHNORM, model=model, criterion=criterion, img_size=224, epochs=360, **more)


def _table2(name: str, model: str, size: int, crop_pct: float, without: float, with_tree: float) -> dict:
    # the sizes of EfficientNet and every crop_pct are (not in the paper)
    both = dict(VIPF, model=model, img_size=size, crop_pct=crop_pct, epochs=720)
    compare = f'ROW=baseline {name}'
    return {
        (name, 'baseline'): Row(dict(both, criterion='ce'), without, compare),
        (name, 'tsl'): Row(dict(both, criterion='ce+tsl'), with_tree, compare),
    }


def _table3(layers: int, size: int) -> dict[str, Any]:
    # the loss is (not in the paper)
    model = f'dsk_resnext{layers}_32x4d'
    return dict(VIPF, **LAST_BATCHNORM, model=model, criterion='ce', img_size=size, epochs=540)


def _table4(probability: float) -> dict[str, Any]:
    plain = dict(smoothing=0.0, drop=0.0)  # (inferred)
    settings = dict(VIPF, **LAST_BATCHNORM, model='resnext50_32x4d', criterion='ce', img_size=320, epochs=90)
    return dict(settings, **plain, mixup_prob=probability)


def _table5(**tricks: Any) -> dict[str, Any]:
    return {**_table4(0.0), 'epochs': 360, **tricks}  # 320 pixels, no CutMix: (inferred)


def _kim(model: str, size: int, batch: int, crop_pct: float, **more: Any) -> dict[str, Any]:
    return dict(KIM, model=f'efficientnet_{model}', img_size=size, batch_size=batch, crop_pct=crop_pct, **more)


# (recipe, ROW)
ROWS: dict[tuple[str, str], Row] = {
    ('resnext50_32x4d', ''): Row(_table1('resnext50_32x4d'), 52.01),
    ('d_resnext50_32x4d', ''): Row(_table1('d_resnext50_32x4d'), 54.45, 'resnext50_32x4d'),
    ('sk_resnext50_32x4d_noaa', ''): Row(_table1('sk_resnext50_32x4d_noaa'), 54.06, 'resnext50_32x4d'),
    ('sk_resnext50_32x4d', ''): Row(_table1('sk_resnext50_32x4d'), 54.37, 'sk_resnext50_32x4d_noaa'),
    ('dsk_resnext50_32x4d', ''): Row(_table1('dsk_resnext50_32x4d'), 55.97, 'sk_resnext50_32x4d'),
    ('dsk_resnext50_32x4d_pcl', ''): Row(_table1('dsk_resnext50_32x4d', 'pcl'), 56.48, 'dsk_resnext50_32x4d'),
    ('dsk_resnext50_32x4d_pcl_center', ''): Row(
        _table1('dsk_resnext50_32x4d', 'pcl+center', criterion_kwargs={'center_weight': 0.0005}),
        57.51,
        'dsk_resnext50_32x4d_pcl',
    ),
    **_table2('effnet_tsl', 'efficientnet_b3', 300, 0.904, 62.42, 63.15),
    **_table2('effnet_b5_tsl', 'efficientnet_b5', 456, 0.934, 65.43, 65.85),
    **_table2('effnet_b6_tsl', 'efficientnet_b6', 528, 0.942, 65.67, 66.26),
    **_table2('resnest101_tsl', 'resnest101e', 320, 0.875, 65.96, 67.15),
    **_table2('resnest200_tsl', 'resnest200e', 320, 0.909, 67.40, 67.81),
    ('vipf_table3', '50-224'): Row(_table3(50, 224), 67.35),
    ('vipf_table3', '50-320'): Row(_table3(50, 320), 69.20),
    ('vipf_table3', '101-224'): Row(_table3(101, 224), 68.02),
    ('vipf_table3', '101-320'): Row(_table3(101, 320), 69.59),
    ('vipf_table4', '0'): Row(_table4(0.0), 45.23, 'ROW=0 vipf_table4'),
    ('vipf_table4', '0.3'): Row(_table4(0.3), 45.73, 'ROW=0 vipf_table4'),
    ('vipf_table4', '0.5'): Row(_table4(0.5), 46.25, 'ROW=0 vipf_table4'),
    ('vipf_table4', '0.7'): Row(_table4(0.7), 45.85, 'ROW=0 vipf_table4'),
    ('vipf_table4', '1.0'): Row(_table4(1.0), 44.35, 'ROW=0 vipf_table4'),
    ('vipf_table5', 'baseline'): Row(_table5(), 50.56, 'ROW=baseline vipf_table5'),
    ('vipf_table5', 'dual-pool'): Row(_table5(gp='catavgmax'), 50.87, 'ROW=baseline vipf_table5'),
    ('vipf_table5', 'label-smoothing'): Row(_table5(smoothing=0.1), 50.70, 'ROW=baseline vipf_table5'),
    ('vipf_table5', 'dropout-0.2'): Row(_table5(drop=0.2), 50.90, 'ROW=baseline vipf_table5'),
    ('vipf_table5', 'dropout-0.4'): Row(_table5(drop=0.4), 50.84, 'ROW=baseline vipf_table5'),
    ('vipf_table5', 'all'): Row(
        _table5(gp='catavgmax', smoothing=0.1, drop=0.2), 51.82, 'ROW=baseline vipf_table5'
    ),
    # Kim's Table 1 has no scores; that of EfficientNet-B3 stands in Table 2
    ('effnet_b3_fcl', ''): Row(_kim('b3', 300, 40, 0.904), 58.23),
    ('effnet_b3_fcl_lsb', ''): Row(
        _kim('b3', 300, 50, 0.904, lsb_swap=2, lsb_prob=0.5), None, 'effnet_b3_fcl'
    ),  # k = 2; how often is (not in the paper)
    ('effnet_b4_fcl', ''): Row(_kim('b4', 380, 16, 0.922)),
    ('effnet_b5_fcl', ''): Row(_kim('b5', 456, 10, 0.934)),
    ('effnet_b7_fcl', ''): Row(_kim('b7', 600, 10, 0.949)),
}  # fmt: skip
ENSEMBLES = {'ensemble_weighted': 73.08, 'ensemble_plurality': 67.30, 'vipf_ensemble': 73.08, 'kim_ensemble': 67.30}
# the recipes that can train on the validation images too
FINAL = sorted({name for name, row in ROWS if row in ('tsl', '50-224') or name.startswith('effnet')})
