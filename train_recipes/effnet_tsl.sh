#!/usr/bin/env bash
# EfficientNet with tree supervision, in two stages: a baseline, the tree of its classes, training with the tree.
#
#   ./train_recipes/effnet_tsl.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Sun et al. (VIPF), ECCV 2020 workshops, §3.2, Eq. 7, and Table 2 (rows with TSL)
# Settings: §4.1: random resized crop, flip, CutMix at p = 0.5, 5 warm-up epochs from 1e-4, cosine from 0.1, dropout 0.2,
#           weight decay 1e-4, label smoothing; 720 epochs. The paper ran batches of 64 on each of 16 GPUs: --lr-base
#           scales its 0.1 for 1,024 images to the batch you have.
# Time:     720 epochs, twice. Not rerun by us.
# Results:  in output/train/NAME-baseline and NAME-tsl, the tree in output/train/NAME-tsl-tree.json. NAME is
#           effnet_tsl and the time, or what the variable NAME says.
# Flags given after DATA go to both stages and win, but for --experiment, which NAME sets. GPUS=N runs on N devices,
# DRY_RUN=1 prints the commands.
source "$(dirname "$0")/common.sh"
data_dir "$0" "$@"

name=${NAME:-effnet_tsl-$(date +%Y%m%d-%H%M%S)}
output=output/train
settings=(
    --model efficientnet_b3 --epochs 720 --batch-size 64 --workers 8 --amp --output "$output"
    --opt sgd --momentum 0.9 --weight-decay 1e-4 --sched cosine --lr-base 0.1 --lr-base-size 1024
    --warmup-epochs 5 --warmup-lr 1e-4 --drop 0.2 --smoothing 0.1 --cutmix 1.0 --mixup-prob 0.5
)

run train "$1" "${settings[@]}" --criterion ce "${@:2}" --experiment "$name-baseline"

run_once hierarchy induce "$output/$name-baseline/last.pth.tar" --classes "$1/train" -o "$output/$name-tsl-tree.json"

run train "$1" "${settings[@]}" --criterion ce+tsl --hierarchy "$output/$name-tsl-tree.json" "${@:2}" \
    --experiment "$name-tsl"
