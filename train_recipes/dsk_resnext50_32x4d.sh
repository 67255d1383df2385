#!/usr/bin/env bash
# DSK-ResNeXt50_32x4d: two selective-kernel units in every block, anti-aliased.
#
#   ./train_recipes/dsk_resnext50_32x4d.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, DSK-ResNeXt50_32x4d
# Score:    55.97 (paper, validation set); not run on VIPriors by us
# Compare:  sk_resnext50_32x4d
# Settings: §4.1 (vipf.sh), 360 epochs. Not in the paper: 224 pixels.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
arguments 1 "$@"

train "$1" "${vipf[@]}" "${last_batchnorm[@]}" \
    --model dsk_resnext50_32x4d --img-size 224 --epochs 360 \
    --criterion ce \
    "${@:2}"
