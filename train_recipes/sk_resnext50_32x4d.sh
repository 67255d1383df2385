#!/usr/bin/env bash
# SK-ResNeXt50_32x4d: one selective-kernel unit in every block, anti-aliased.
#
#   ./train_recipes/sk_resnext50_32x4d.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, SK-ResNeXt50_32x4d
# Score:    54.37 (paper, validation set); not run on VIPriors by us
# Compare:  sk_resnext50_32x4d_noaa
# Settings: §4.1 (vipf.sh), 360 epochs. Not in the paper: 224 pixels.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
arguments 1 "$@"

train "$1" "${vipf[@]}" "${last_batchnorm[@]}" \
    --model sk_resnext50_32x4d --img-size 224 --epochs 360 \
    --criterion ce \
    "${@:2}"
