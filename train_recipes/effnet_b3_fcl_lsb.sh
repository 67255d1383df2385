#!/usr/bin/env bash
# EfficientNet-B3 with focal cosine loss and LSB swap, from scratch.
#
#   ./train_recipes/effnet_b3_fcl_lsb.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Table 1, EfficientNet-B3 with LSB swap, without and with TTA
# Score:    none in the paper, which reports a lower training loss alone; not run on VIPriors by us
# Compare:  effnet_b3_fcl
# Settings: the authors' (kim.sh; effnet3_LSB/args.yaml): batches of 50 at 300 pixels. k = 2 (§3.1). Not in the paper:
#           how often an image is swapped, and whether before or during training; here half of the images of every
#           epoch.
# Hardware: not in the paper; one GPU in the authors' file
# Time:     450 epochs, of 100,000 images with FINAL=1 on VIPriors
# FINAL=1 TEST=FOLDER trains on training and validation images, as the paper does, and predicts those of TEST.
# TTA=3 also predicts with three random views, as in the rows with TTA (the number is not in the paper; 3 in the
# authors' script). Flags after DATA come last and win. --help lists the variables.
source "$(dirname "$0")/kim.sh"
arguments 1 "$@"

train_kim effnet_b3_fcl_lsb "$1" "${kim[@]}" \
    --model efficientnet_b3 --img-size 300 --crop-pct 0.904 --batch-size 50 --lsb-swap 2 --lsb-prob 0.5 \
    "${@:2}"
