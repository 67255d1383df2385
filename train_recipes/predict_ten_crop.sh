#!/usr/bin/env bash
# Class probabilities of a folder's images, averaged over ten crops.
#
#   ./train_recipes/predict_ten_crop.sh DATA CHECKPOINT [flags of timm-vipriors predict …]
#
# Paper:    VIPF, §4.1, the test-time augmentation of the final prediction
# Score:    none of its own in the paper
# Settings: four corners and the center of the image as the evaluation resizes it, each also mirrored
# Time:     about ten times that of one crop
# Result:   beside the checkpoint, for last.pth.tar: last-ten_crop.npz
# Flags given after CHECKPOINT come last and win. DRY_RUN=1 prints the command.
source "$(dirname "$0")/common.sh"
arguments 2 "$@"

name=$(basename "$2")
run_once predict "$1" --checkpoint "$2" --tta ten-crop -o "$(dirname "$2")/${name%%.*}-ten_crop.npz" "${@:3}"
