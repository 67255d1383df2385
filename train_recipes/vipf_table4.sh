#!/usr/bin/env bash
# How often CutMix: DSK-ResNeXt50_32x4d with five probabilities.
#
#   ./train_recipes/vipf_table4.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 4
# Score:    the paper's number could not be read here; not rerun by us
# Settings: §4.1 (vipf.sh) but for the probability, cross-entropy, 90 epochs at 320 pixels. Which network the table has
#           could not be read here: DSK-ResNeXt50_32x4d is our choice.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     90 epochs a row
# Rows:     ROW=0, 0.3, 0.5, 0.7 or 1.0, or several; all five in turn if it is not set.
# Results:  in output/train/NAME-ROW. NAME is vipf_table4 and the time, or what the variable NAME says.
# Flags after DATA go to every row and win, but for --experiment, which NAME sets. GPUS=N, several machines, DRY_RUN=1:
# see common.sh.
source "$(dirname "$0")/vipf.sh"
data_dir "$0" "$@"
choose_rows 0 0.3 0.5 0.7 1.0
name=$(run_name vipf_table4)

for row in "${rows[@]}"; do
    run train "$1" "${vipf[@]}" \
        --model dsk_resnext50_32x4d --img-size 320 --criterion ce --epochs 90 --mixup-prob "$row" \
        "${@:2}" --experiment "$name-$row"
done
