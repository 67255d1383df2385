#!/usr/bin/env bash
# How often CutMix: ResNeXt50_32x4d with five probabilities.
#
#   ./train_recipes/vipf_table4.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 4
# Score:    0: 45.23, 0.3: 45.73, 0.5: 46.25, 0.7: 45.85, 1.0: 44.35 (paper, validation set); not run on VIPriors by us
# Compare:  ROW=0 vipf_table4
# Settings: 320 pixels and 90 epochs (Table 4), otherwise §4.1 (vipf.sh). Inferred: no dropout and no label smoothing.
#           90 to 360 epochs bring 5.3 points (§4.1), and 50.56, the baseline of Table 5, is 5.33 above 45.23: the two
#           baselines are one setting at two lengths. Not in the paper: the loss, here cross-entropy.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     90 epochs a row
# Rows:     ROW=0 (no CutMix), 0.3, 0.5, 0.7 or 1.0, or several; all five in turn if it is not set
# Results:  in output/train/NAME-ROW
# Flags after DATA go to every row and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
takes+=(ROW)
arguments 1 "$@"
choose_rows 0 0.3 0.5 0.7 1.0
name=$(run_name vipf_table4)

for row in "${rows[@]}"; do
    run train "$1" "${vipf_schedule[@]}" "${last_batchnorm[@]}" \
        --model resnext50_32x4d --img-size 320 --crop-pct 0.875 --criterion ce --epochs 90 \
        --smoothing 0 --drop 0 --mixup-prob "$row" \
        "${@:2}" --experiment "$(experiment "$name" "$row" "${@:2}")"
done
