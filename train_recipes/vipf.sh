# shellcheck shell=bash
# Sourced by the recipes of VIPF: Sun et al., "A visual inductive priors framework for data-efficient image
# classification", ECCV 2020 workshops. §4.1, what its tables have in common:
#   random resized crop and flip, CutMix with probability 0.5; 5 epochs of warm-up from 1e-4, then a cosine from 0.1;
#   dropout 0.2, weight decay 1e-4, label smoothing; 16 GPUs with 64 images each.
# Not in the paper, so ours: SGD with momentum 0.9, Beta(1, 1) for CutMix, smoothing 0.1, mixed precision, and
#   crop_pct 0.875 in the evaluation: timm has 0.95 for ResNeXt and 0.875 for our networks, and rows that are compared
#   must be evaluated alike. Nor is crop-mode center: images keep their proportions, which timm's EfficientNet-B5 squashes.
# On fewer or more devices the 0.1 for 1,024 images is scaled to the batch you have, which is printed before the start.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

vipf_schedule=(
    --batch-size 64 --amp
    --opt sgd --momentum 0.9 --weight-decay 1e-4
    --sched cosine --lr-base 0.1 --lr-base-size 1024 --warmup-epochs 5 --warmup-lr 1e-4
    --color-jitter 0 --cutmix 1.0 --crop-mode center
)
# shellcheck disable=SC2034
vipf_tricks=(--mixup-prob 0.5 --smoothing 0.1 --drop 0.2)
# shellcheck disable=SC2034
vipf=("${vipf_schedule[@]}" "${vipf_tricks[@]}" --crop-pct 0.875)

# The start value of the last BatchNorm of every residual unit, not in the paper: timm has 0 for ResNeXt and 1 for its
# SK networks; here all start with 0. Measured on digits and fashion, 120 epochs: DSK hardly learns from 1 (72.7 and
# 49.8 %) and does from 0 (89.5 and 68.1 %), D gains too, the others hardly care. Your own --model-kwargs replaces it:
# repeat it there, or leave --model-kwargs empty for another --model whose family has no such argument.
# shellcheck disable=SC2034
last_batchnorm=(--model-kwargs zero_init_last=True)
# shellcheck disable=SC2034
takes=(GPUS NNODES NODE_RANK RDZV_ENDPOINT NAME)
