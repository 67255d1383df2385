# shellcheck shell=bash
# Sourced by the recipes of Kim: Kim et al., "Data-Efficient Deep Learning Method for Image Classification Using Data
# Augmentation, Focal Cosine Loss, and Ensemble", arXiv 2007.07805. Its §2 and §3.1: RandAugment, focal cosine loss with
# λ = 0.1 and γ = 2, averaged weights for testing, dropout and drop connect; training and validation data combined; all
# else as timm recommends. What that is, the authors' output/train/*/args.yaml say (github.com/byeongjokim/
# VIPriors-Image-Classification-Challenge), and the copy of timm beside them; here in today's flags:
#   - 450 epochs. Their 10 epochs of cool-down do nothing with a step schedule, then as now: they are left out.
#   - The decay of the averaged weights is 0.9999. That it warms up is ours: the average of a short run would
#     otherwise be close to the initial weights. After the paper's number of updates both are the same.
#   - drop_connect is --drop-path. A smoothing of 0.1 had no effect, their criterion ignored it: it is 0.
#   - Each network's size and crop_pct (B3 0.904, B4 0.922, B5 0.934, B7 0.949) are those of timm in 2020, and images
#     keep their proportions, as they all did then; timm's EfficientNet-B5 squashes them now.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# shellcheck disable=SC2034
kim=(
    --criterion focal-cosine --criterion-kwargs xent_weight=0.1 gamma=2 --smoothing 0
    --epochs 450 --amp
    --opt rmsproptf --opt-eps 0.001 --momentum 0.9 --weight-decay 1e-5
    --sched step --lr 0.016 --decay-epochs 2.4 --decay-rate 0.97 --warmup-epochs 3 --warmup-lr 1e-6 --min-lr 1e-5
    --drop 0.3 --drop-path 0.2 --model-ema --model-ema-decay 0.9999 --model-ema-warmup
    --aa rand-m9-mstd0.5 --color-jitter 0.4 --reprob 0.2 --remode pixel --dist-bn ''
    --crop-mode center
)
# shellcheck disable=SC2034
takes=(GPUS NNODES NODE_RANK RDZV_ENDPOINT NAME FINAL TTA TEST)

# train_kim RECIPE DATA FLAGS…: a run. With TEST or TTA=N also the scores of its last averaged weights on the images of
# TEST, plain and over N random views (the paper's rows with TTA), beside the checkpoint.
train_kim() {
    local recipe=$1 data=$2 folder scores
    shift 2
    need_test
    final_data kim "$data" "$@"
    ! is_final || set -- --val-split '' "$@"
    if [ -z "${TTA:-}${TEST:-}" ]; then
        train "$data" "$@"
        return
    fi
    folder=$(flag_value "$(run_name "$recipe")" --experiment "$@")
    run train "$data" "$@" --experiment "$folder"
    [ "${NODE_RANK:-0}" = 0 ] || return 0
    folder=$(flag_value output/train --output "$@")/$folder
    scores=(predict "${TEST:-$data}" --checkpoint "$folder/last.pth.tar" --ema --batch-size 32 --force)
    run_once "${scores[@]}" -o "$folder/scores.npz"
    [ -z "${TTA:-}" ] || run_once "${scores[@]}" --tta "randaug:$TTA" -o "$folder/scores-tta.npz"
}
