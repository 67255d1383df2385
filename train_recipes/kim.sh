# shellcheck shell=bash
# Sourced by the recipes of Kim: "Data-Efficient Deep Learning Method for Image Classification Using Data Augmentation,
# Focal Cosine Loss, and Ensemble", arXiv 2007.07805. What all networks of its Table 1 have in common: the authors'
# output/train/*/args.yaml (github.com/byeongjokim/VIPriors-Image-Classification-Challenge) in today's flags. Their
# drop_connect is --drop-path. Their smoothing of 0.1 had no effect, their criterion ignored it: it is 0 here.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# shellcheck disable=SC2034
kim=(
    --criterion focal-cosine --smoothing 0
    --epochs 450 --cooldown-epochs 10 --workers 8 --amp
    --opt rmsproptf --opt-eps 0.001 --momentum 0.9 --weight-decay 1e-5
    --sched step --lr 0.016 --decay-epochs 2.4 --decay-rate 0.97 --warmup-epochs 3 --warmup-lr 1e-6 --min-lr 1e-5
    --drop 0.3 --drop-path 0.2 --model-ema --model-ema-decay 0.9999
    --aa rand-m9-mstd0.5 --color-jitter 0.4 --reprob 0.2 --remode pixel --dist-bn ''
)

# train_kim RECIPE DATA FLAGS…: a training. With TTA=N also the scores of its last averaged weights on the validation
# images, plain and over N random views (the paper's rows with TTA; the authors' script takes 3), beside the checkpoint.
train_kim() {
    local recipe=$1 data=$2 folder scores
    shift 2
    if [ -z "${TTA:-}" ]; then
        run train "$data" "$@"
        return
    fi
    folder=$(flag_value "$(run_name "$recipe")" --experiment "$@")
    run train "$data" "$@" --experiment "$folder"
    [ "${NODE_RANK:-0}" = 0 ] || return 0
    folder=$(flag_value output/train --output "$@")/$folder
    scores=(predict "$data" --checkpoint "$folder/last.pth.tar" --ema --batch-size 32)
    run_once "${scores[@]}" -o "$folder/scores.npz"
    run_once "${scores[@]}" --tta "randaug:$TTA" -o "$folder/scores-tta.npz"
}
