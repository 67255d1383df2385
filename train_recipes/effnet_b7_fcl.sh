#!/usr/bin/env bash
# EfficientNet-B7 with focal cosine loss, from scratch.
#
#   ./train_recipes/effnet_b7_fcl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Table 1, EfficientNet-B7, without and with TTA
# Score:    none in the paper; not run on VIPriors by us
# Settings: the authors' (kim.sh; effnet7/args.yaml): batches of 10 at 600 pixels.
# Hardware: not in the paper; one GPU in the authors' file
# Time:     450 epochs, of 100,000 images with FINAL=1 on VIPriors
# FINAL=1 TEST=FOLDER trains on training and validation images, as the paper does, and predicts those of TEST.
# TTA=3 also predicts with three random views, as in the rows with TTA (the number is not in the paper; 3 in the
# authors' script). Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/kim.sh"
arguments 1 "$@"

train_kim effnet_b7_fcl "$1" "${kim[@]}" \
    --model efficientnet_b7 --img-size 600 --crop-pct 0.949 --batch-size 10 \
    "${@:2}"
