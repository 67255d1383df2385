#!/usr/bin/env bash
# EfficientNet-B5 without and with tree supervision: a baseline, the tree of its classes, training with the tree.
#
#   ./train_recipes/effnet_b5_tsl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, §3.2, Eq. 7, and Table 2, EfficientNet-b5 without and with TSL, final stage (FINAL=1)
# Score:    baseline: 65.43, tsl: 65.85 (paper, reserved part of the validation set); not run on VIPriors by us
# Compare:  ROW=baseline effnet_b5_tsl
# Settings: §4.1 (vipf.sh), 720 epochs. Not in the paper: the size and crop_pct, here the network's own of 2020, 456
#           pixels and 0.934.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     720 epochs, twice, of 95,000 images with FINAL=1 on VIPriors
# Rows:     ROW=baseline or tsl; both in turn if it is not set. tsl alone takes the tree of the baseline of the same
#           NAME, or TREE.
# Results:  in output/train/NAME-ROW, the tree in output/train/NAME-tsl-tree.json
# Flags after DATA go to both runs and win. --help lists the variables.
source "$(dirname "$0")/vipf_tree.sh"
arguments 1 "$@"

# shellcheck disable=SC2034
network=(--model efficientnet_b5 --img-size 456 --crop-pct 0.934)
without_and_with_tree effnet_b5_tsl "$@"
