#!/usr/bin/env bash
# EfficientNet-B3 with focal cosine loss and LSB swap, from scratch.
#
#   ./train_recipes/effnet_b3_fcl_lsb.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim et al., arXiv 2007.07805, Table 1, EfficientNet-B3 with LSB swap (VIPriors: 1,000 classes, 50 images each)
# Settings: the authors' output/train/effnet3_LSB/args.yaml
#           (github.com/byeongjokim/VIPriors-Image-Classification-Challenge) in today's flags. Their drop_connect is
#           --drop-path. Their smoothing of 0.1 had no effect, their criterion ignored it: it is 0 here. They made the
#           swapped images before the training, how many and of how many bits their files do not say; here half of
#           the images of every epoch get two bits of another one.
# Time:     450 + 10 epochs. Not rerun by us.
# Flags given after DATA come last and win. GPUS=N runs on N devices, DRY_RUN=1 prints the command.
source "$(dirname "$0")/common.sh"
data_dir "$0" "$@"

run train "$1" \
    --model efficientnet_b3 --criterion focal-cosine --smoothing 0 --lsb-swap 2 --lsb-prob 0.5 \
    --epochs 450 --cooldown-epochs 10 --batch-size 50 --workers 8 --amp \
    --opt rmsproptf --opt-eps 0.001 --momentum 0.9 --weight-decay 1e-5 \
    --sched step --lr 0.016 --decay-epochs 2.4 --decay-rate 0.97 --warmup-epochs 3 --warmup-lr 1e-6 --min-lr 1e-5 \
    --drop 0.3 --drop-path 0.2 --model-ema --model-ema-decay 0.9999 \
    --aa rand-m9-mstd0.5 --color-jitter 0.4 --reprob 0.2 --remode pixel --dist-bn '' \
    "${@:2}"
