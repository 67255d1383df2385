#!/usr/bin/env bash
# EfficientNet-B5 with focal cosine loss, from scratch.
#
#   ./train_recipes/effnet_b5_fcl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Table 1, EfficientNet-B5
# Score:    the paper's number could not be read here; not rerun by us
# Settings: the authors' (kim.sh; effnet5/args.yaml): batches of 10 at 456 pixels.
# Hardware: one GPU in the paper
# Time:     450 + 10 epochs
# Flags after DATA come last and win. GPUS=N, several machines, DRY_RUN=1: see common.sh.
source "$(dirname "$0")/kim.sh"
data_dir "$0" "$@"

train_kim effnet_b5_fcl "$1" "${kim[@]}" \
    --model efficientnet_b5 --img-size 456 --batch-size 10 \
    "${@:2}"
