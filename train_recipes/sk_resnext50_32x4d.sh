#!/usr/bin/env bash
# SK-ResNeXt50_32x4d: one selective-kernel unit in every block, anti-aliased.
#
#   ./train_recipes/sk_resnext50_32x4d.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, SK-ResNeXt50_32x4d
# Score:    the paper's number could not be read here; not rerun by us
# Settings: §4.1 (vipf.sh), 360 epochs at 224 pixels.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs
# Flags after DATA come last and win. GPUS=N, several machines, DRY_RUN=1: see common.sh.
source "$(dirname "$0")/vipf.sh"
data_dir "$0" "$@"

run train "$1" "${vipf[@]}" \
    --model sk_resnext50_32x4d --img-size 224 --epochs 360 \
    --criterion ce \
    "${@:2}"
