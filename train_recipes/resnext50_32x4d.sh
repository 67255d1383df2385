#!/usr/bin/env bash
# ResNeXt50_32x4d with cross-entropy, from scratch.
#
#   ./train_recipes/resnext50_32x4d.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, ResNeXt50_32x4d
# Score:    52.01 (paper, validation set); not run on VIPriors by us
# Settings: §4.1 (vipf.sh), 360 epochs. Not in the paper: 224 pixels. The model is timm's.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
arguments 1 "$@"

train "$1" "${vipf[@]}" "${last_batchnorm[@]}" \
    --model resnext50_32x4d --img-size 224 --epochs 360 \
    --criterion ce \
    "${@:2}"
