#!/usr/bin/env bash
# DSK-ResNeXt50_32x4d with positive class loss.
#
#   ./train_recipes/dsk_resnext50_32x4d_pcl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, DSK-ResNeXt50_32x4d + PCL (printed "PSL")
# Score:    56.48 (paper, validation set); not run on VIPriors by us
# Compare:  dsk_resnext50_32x4d
# Settings: §4.1 (vipf.sh), 360 epochs. Not in the paper: 224 pixels. The loss is Eq. 5.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
arguments 1 "$@"

train "$1" "${vipf[@]}" "${last_batchnorm[@]}" \
    --model dsk_resnext50_32x4d --img-size 224 --epochs 360 \
    --criterion pcl \
    "${@:2}"
