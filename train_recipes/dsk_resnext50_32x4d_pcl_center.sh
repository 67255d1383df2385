#!/usr/bin/env bash
# DSK-ResNeXt50_32x4d with positive class loss and centre loss.
#
#   ./train_recipes/dsk_resnext50_32x4d_pcl_center.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, DSK-ResNeXt50_32x4d + PCL + centre loss
# Score:    the paper's number could not be read here; not rerun by us
# Settings: §4.1 (vipf.sh), 360 epochs at 224 pixels. Eqs. 5 and 6, the centre loss with the weight 0.0005 of Eq. 3.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. GPUS=N, several machines, DRY_RUN=1: see common.sh.
source "$(dirname "$0")/vipf.sh"
data_dir "$0" "$@"

run train "$1" "${vipf[@]}" \
    --model dsk_resnext50_32x4d --img-size 224 --epochs 360 \
    --criterion pcl+center --criterion-kwargs center_weight=0.0005 \
    "${@:2}"
