# shellcheck shell=bash
# Sourced by the recipes of VIPF: Sun et al., "A visual inductive priors framework for data-efficient image
# classification", ECCV 2020 workshops. §4.1, what all of its tables have in common:
#   random resized crop and flip, CutMix with probability 0.5; 5 epochs of warm-up from 1e-4, then a cosine from 0.1;
#   dropout 0.2, weight decay 1e-4, label smoothing; 16 GPUs with 64 images each.
# On fewer or more devices the 0.1 for 1,024 images is scaled to the batch you have, which is printed before the start.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# shellcheck disable=SC2034
vipf=(
    --batch-size 64 --workers 8 --amp
    --opt sgd --momentum 0.9 --weight-decay 1e-4
    --sched cosine --lr-base 0.1 --lr-base-size 1024 --warmup-epochs 5 --warmup-lr 1e-4
    --color-jitter 0 --cutmix 1.0 --mixup-prob 0.5 --smoothing 0.1 --drop 0.2
)
