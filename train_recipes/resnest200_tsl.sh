#!/usr/bin/env bash
# ResNeSt-200 without and with tree supervision: a baseline, the tree of its classes, training with the tree.
#
#   ./train_recipes/resnest200_tsl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, §3.2, Eq. 7, and Table 2, ResNeSt-200 without and with TSL
# Score:    the paper's number could not be read here; not rerun by us
# Settings: §4.1 (vipf.sh), 720 epochs at 320 pixels, which we take to be the size of all of the table's networks.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     720 epochs, twice
# Results:  in output/train/NAME-baseline and NAME-tsl, the tree in output/train/NAME-tsl-tree.json. NAME is
#           resnest200_tsl and the time, or what the variable NAME says.
# Flags after DATA go to both trainings and win, but for --experiment, which NAME sets. GPUS=N, several machines,
# DRY_RUN=1: see common.sh.
source "$(dirname "$0")/vipf_tree.sh"
data_dir "$0" "$@"

train_without_and_with_tree resnest200_tsl resnest200e "$@"
