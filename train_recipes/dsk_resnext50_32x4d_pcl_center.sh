#!/usr/bin/env bash
# DSK-ResNeXt50_32x4d with positive class loss and center loss.
#
#   ./train_recipes/dsk_resnext50_32x4d_pcl_center.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, DSK-ResNeXt50_32x4d + PCL + CL
# Score:    57.51 (paper, validation set); not run on VIPriors by us
# Compare:  dsk_resnext50_32x4d_pcl
# Settings: §4.1 (vipf.sh), 360 epochs. Not in the paper: 224 pixels. The losses are Eqs. 5 and 6; the weight 0.0005 of
#           the center loss is how we read "α, γ and β are set to 1, 0.0005 and 1".
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
arguments 1 "$@"

train "$1" "${vipf[@]}" "${last_batchnorm[@]}" \
    --model dsk_resnext50_32x4d --img-size 224 --epochs 360 \
    --criterion pcl+center --criterion-kwargs center_weight=0.0005 \
    "${@:2}"
