#!/usr/bin/env bash
# EfficientNet-B7 with focal cosine loss, from scratch.
#
#   ./train_recipes/effnet_b7_fcl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Table 1, EfficientNet-B7, without and with TTA
# Score:    the paper's number could not be read here; not rerun by us
# Settings: the authors' (kim.sh; effnet7/args.yaml): batches of 10 at 600 pixels.
# Hardware: one GPU in the paper
# Time:     450 + 10 epochs
# TTA=3 also predicts with three random views, as in the rows with TTA. Flags after DATA come last and win. GPUS=N,
# several machines, DRY_RUN=1: see common.sh.
source "$(dirname "$0")/kim.sh"
data_dir "$0" "$@"

train_kim effnet_b7_fcl "$1" "${kim[@]}" \
    --model efficientnet_b7 --img-size 600 --batch-size 10 \
    "${@:2}"
