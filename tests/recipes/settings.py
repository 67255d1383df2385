"""What the papers and the authors' files say of each row, by the names of timm's arguments."""

# VIPF §4.1
VIPF = dict(
    batch_size=64,  # on each of 16 GPUs
    workers=8,
    amp=True,
    opt='sgd',
    momentum=0.9,
    weight_decay=1e-4,
    sched='cosine',
    lr_base=0.1,
    lr_base_size=16 * 64,
    warmup_epochs=5,
    warmup_lr=1e-4,
    color_jitter=0.0,  # crop and flip are all
    cutmix=1.0,
    mixup_prob=0.5,
    smoothing=0.1,
    drop=0.2,
)

# output/train/*/args.yaml of github.com/byeongjokim/VIPriors-Image-Classification-Challenge
KIM = dict(
    epochs=450,
    cooldown_epochs=10,
    workers=8,
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
    aa='rand-m9-mstd0.5',
    color_jitter=0.4,
    reprob=0.2,
    remode='pixel',
    dist_bn='',
    criterion='focal-cosine',
    smoothing=0.0,  # 0.1 in the file, which the criterion ignored
)


def _table1(model, criterion='ce', **more):
    return [dict(VIPF, model=model, criterion=criterion, img_size=224, epochs=360, **more)]


def _table2(model):
    both = dict(VIPF, model=model, img_size=320, epochs=720)
    return [dict(both, criterion='ce'), dict(both, criterion='ce+tsl')]


def _dsk(size, epochs, layers=50, **more):
    settings = dict(VIPF, model=f'dsk_resnext{layers}_32x4d', criterion='ce', img_size=size, epochs=epochs)
    return [dict(settings, **more)]


def _kim(model, size, batch, **more):
    return [dict(KIM, model=f'efficientnet_{model}', img_size=size, batch_size=batch, **more)]


# (recipe, ROW): the settings of each of its trainings
ROWS = {
    ('resnext50_32x4d', ''): _table1('resnext50_32x4d'),
    ('d_resnext50_32x4d', ''): _table1('d_resnext50_32x4d'),
    ('sk_resnext50_32x4d_noaa', ''): _table1('sk_resnext50_32x4d_noaa'),
    ('sk_resnext50_32x4d', ''): _table1('sk_resnext50_32x4d'),
    ('dsk_resnext50_32x4d', ''): _table1('dsk_resnext50_32x4d'),
    ('dsk_resnext50_32x4d_pcl', ''): _table1('dsk_resnext50_32x4d', 'pcl'),
    ('dsk_resnext50_32x4d_pcl_center', ''): _table1(
        'dsk_resnext50_32x4d', 'pcl+center', criterion_kwargs={'center_weight': 0.0005}
    ),
    ('effnet_tsl', ''): _table2('efficientnet_b3'),
    ('effnet_b5_tsl', ''): _table2('efficientnet_b5'),
    ('effnet_b6_tsl', ''): _table2('efficientnet_b6'),
    ('resnest101_tsl', ''): _table2('resnest101e'),
    ('resnest200_tsl', ''): _table2('resnest200e'),
    ('vipf_table3', '50-224'): _dsk(224, 540),
    ('vipf_table3', '50-320'): _dsk(320, 540),
    ('vipf_table3', '101-224'): _dsk(224, 540, layers=101),
    ('vipf_table3', '101-320'): _dsk(320, 540, layers=101),
    ('vipf_table4', '0'): _dsk(320, 90, mixup_prob=0.0),
    ('vipf_table4', '0.3'): _dsk(320, 90, mixup_prob=0.3),
    ('vipf_table4', '0.5'): _dsk(320, 90, mixup_prob=0.5),
    ('vipf_table4', '0.7'): _dsk(320, 90, mixup_prob=0.7),
    ('vipf_table4', '1.0'): _dsk(320, 90, mixup_prob=1.0),
    ('vipf_table5', 'dual-pool'): _dsk(224, 360, drop=0.0, smoothing=0.0, gp='catavgmax'),
    ('vipf_table5', 'label-smoothing'): _dsk(224, 360, drop=0.0, smoothing=0.1),
    ('vipf_table5', 'dropout-0.2'): _dsk(224, 360, drop=0.2, smoothing=0.0),
    ('vipf_table5', 'dropout-0.4'): _dsk(224, 360, drop=0.4, smoothing=0.0),
    ('vipf_table5', 'all'): _dsk(224, 360, drop=0.2, smoothing=0.1, gp='catavgmax'),
    ('effnet_b3_fcl', ''): _kim('b3', 300, 40),
    ('effnet_b3_fcl_lsb', ''): _kim('b3', 300, 50, lsb_swap=2, lsb_prob=0.5),
    ('effnet_b4_fcl', ''): _kim('b4', 380, 16),
    ('effnet_b5_fcl', ''): _kim('b5', 456, 10),
    ('effnet_b7_fcl', ''): _kim('b7', 600, 10),
}
