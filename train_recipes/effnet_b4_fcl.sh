#!/usr/bin/env bash
# EfficientNet-B4 with focal cosine loss, from scratch.
#
#   ./train_recipes/effnet_b4_fcl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Table 1, EfficientNet-B4
# Score:    the paper's number could not be read here; not rerun by us
# Settings: the authors' (kim.sh; effnet4/args.yaml): batches of 16 at 380 pixels. They went on from this training with
#           LSB-swapped images (args.yaml in effnet4/resume_with_LSB): --resume, --lsb-swap 2, --batch-size 20.
# Hardware: one GPU in the paper
# Time:     450 + 10 epochs
# Flags after DATA come last and win. GPUS=N, several machines, DRY_RUN=1: see common.sh.
source "$(dirname "$0")/kim.sh"
data_dir "$0" "$@"

train_kim effnet_b4_fcl "$1" "${kim[@]}" \
    --model efficientnet_b4 --img-size 380 --batch-size 16 \
    "${@:2}"
