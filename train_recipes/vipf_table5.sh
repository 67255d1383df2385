#!/usr/bin/env bash
# ResNeXt50_32x4d with dual pooling, label smoothing and dropout, one by one and together.
#
#   ./train_recipes/vipf_table5.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 5
# Score:    baseline: 50.56, dual-pool: 50.87, label-smoothing: 50.70, dropout-0.2: 50.90, dropout-0.4: 50.84, all:
#           51.82 (paper, validation set); not run on VIPriors by us
# Compare:  ROW=baseline vipf_table5
# Settings: 360 epochs (Table 5), otherwise §4.1 (vipf.sh). Inferred, as Table 4's baseline is the same at 90 epochs
#           (see vipf_table4.sh): 320 pixels, no CutMix, and of dropout and label smoothing only what a row is named
#           for. Not in the paper: the loss, here cross-entropy; the amount of smoothing, here 0.1; the kind of dual
#           pool, here timm's catavgmax, average and maximum side by side.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs a row
# Rows:     ROW=baseline, dual-pool, label-smoothing, dropout-0.2, dropout-0.4 or all, or several; all six in turn if it
#           is not set
# Results:  in output/train/NAME-ROW
# Flags after DATA go to every row and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
takes+=(ROW)
arguments 1 "$@"
choose_rows baseline dual-pool label-smoothing dropout-0.2 dropout-0.4 all
name=$(run_name vipf_table5)

for row in "${rows[@]}"; do
    tricks=(--smoothing 0 --drop 0)
    case $row in
        dual-pool) tricks+=(--gp catavgmax) ;;
        label-smoothing) tricks=(--smoothing 0.1 --drop 0) ;;
        dropout-*) tricks=(--smoothing 0 --drop "${row#dropout-}") ;;
        all) tricks=(--smoothing 0.1 --drop 0.2 --gp catavgmax) ;;
    esac
    run train "$1" "${vipf_schedule[@]}" "${last_batchnorm[@]}" \
        --model resnext50_32x4d --img-size 320 --crop-pct 0.875 --criterion ce --epochs 360 \
        --mixup-prob 0 "${tricks[@]}" \
        "${@:2}" --experiment "$(experiment "$name" "$row" "${@:2}")"
done
