#!/usr/bin/env bash
# SK-ResNeXt50_32x4d without anti-aliasing: one selective-kernel unit in every block.
#
#   ./train_recipes/sk_resnext50_32x4d_noaa.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, SK-ResNeXt50_32x4d without anti-aliasing
# Score:    54.06 (paper, validation set); not run on VIPriors by us
# Compare:  resnext50_32x4d
# Settings: §4.1 (vipf.sh), 360 epochs. Not in the paper: 224 pixels.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
arguments 1 "$@"

train "$1" "${vipf[@]}" "${last_batchnorm[@]}" \
    --model sk_resnext50_32x4d_noaa --img-size 224 --epochs 360 \
    --criterion ce \
    "${@:2}"
