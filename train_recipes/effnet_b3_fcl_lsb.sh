#!/usr/bin/env bash
# EfficientNet-B3 with focal cosine loss and LSB swap, from scratch.
#
#   ./train_recipes/effnet_b3_fcl_lsb.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Table 1, EfficientNet-B3 with LSB swap, without and with TTA
# Score:    the paper's number could not be read here; not rerun by us
# Settings: the authors' (kim.sh; effnet3_LSB/args.yaml): batches of 50 at 300 pixels. They made the swapped images
#           before the training; how many and of how many bits their files do not say: here half of the images of every
#           epoch get two bits of another one.
# Hardware: one GPU in the paper
# Time:     450 + 10 epochs
# TTA=3 also predicts with three random views, as in the rows with TTA. Flags after DATA come last and win. GPUS=N,
# several machines, DRY_RUN=1: see common.sh.
source "$(dirname "$0")/kim.sh"
data_dir "$0" "$@"

train_kim effnet_b3_fcl_lsb "$1" "${kim[@]}" \
    --model efficientnet_b3 --img-size 300 --batch-size 50 --lsb-swap 2 --lsb-prob 0.5 \
    "${@:2}"
