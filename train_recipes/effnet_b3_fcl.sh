#!/usr/bin/env bash
# EfficientNet-B3 with focal cosine loss, from scratch.
#
#   ./train_recipes/effnet_b3_fcl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Table 1, EfficientNet-B3, without and with TTA
# Score:    58.23 without TTA (paper, Table 2, test set); not run on VIPriors by us
# Settings: the authors' (kim.sh; effnet3/args.yaml): batches of 40 at 300 pixels.
# Hardware: not in the paper; one GPU in the authors' file
# Time:     450 epochs, of 100,000 images with FINAL=1 on VIPriors
# FINAL=1 TEST=FOLDER trains on training and validation images, as the paper does, and predicts those of TEST.
# TTA=3 also predicts with three random views, as in the rows with TTA (the number is not in the paper; 3 in the
# authors' script). Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/kim.sh"
arguments 1 "$@"

train_kim effnet_b3_fcl "$1" "${kim[@]}" \
    --model efficientnet_b3 --img-size 300 --crop-pct 0.904 --batch-size 40 \
    "${@:2}"
