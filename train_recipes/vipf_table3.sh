#!/usr/bin/env bash
# DSK-ResNeXt50 and 101 at 224 and 320 pixels.
#
#   ./train_recipes/vipf_table3.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 3
# Score:    the paper's number could not be read here; not rerun by us
# Settings: §4.1 (vipf.sh), cross-entropy, 540 epochs.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     540 epochs a row
# Rows:     ROW=50-224, 50-320, 101-224 or 101-320, or several; all four in turn if it is not set.
# Results:  in output/train/NAME-ROW. NAME is vipf_table3 and the time, or what the variable NAME says.
# Flags after DATA go to every row and win, but for --experiment, which NAME sets. GPUS=N, several machines, DRY_RUN=1:
# see common.sh.
source "$(dirname "$0")/vipf.sh"
data_dir "$0" "$@"
choose_rows 50-224 50-320 101-224 101-320
name=$(run_name vipf_table3)

for row in "${rows[@]}"; do
    run train "$1" "${vipf[@]}" \
        --model "dsk_resnext${row%-*}_32x4d" --img-size "${row#*-}" --criterion ce --epochs 540 \
        "${@:2}" --experiment "$name-$row"
done
