#!/usr/bin/env bash
# Dual pooling, label smoothing and dropout, one by one and together.
#
#   ./train_recipes/vipf_table5.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 5
# Score:    the paper's number could not be read here; not rerun by us
# Settings: §4.1 (vipf.sh) without label smoothing and dropout, cross-entropy, 360 epochs at 224 pixels; to that each
#           row adds what it is named for. Dual pooling is timm's catavgmax: average and maximum side by side. The last
#           row has all three, with §4.1's dropout of 0.2. Which network the table has could not be read here:
#           DSK-ResNeXt50_32x4d is our choice.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     360 epochs a row
# Rows:     ROW=dual-pool, label-smoothing, dropout-0.2, dropout-0.4 or all, or several; all five in turn if it is not
#           set.
# Results:  in output/train/NAME-ROW. NAME is vipf_table5 and the time, or what the variable NAME says.
# Flags after DATA go to every row and win, but for --experiment, which NAME sets. GPUS=N, several machines, DRY_RUN=1:
# see common.sh.
source "$(dirname "$0")/vipf.sh"
data_dir "$0" "$@"
choose_rows dual-pool label-smoothing dropout-0.2 dropout-0.4 all
name=$(run_name vipf_table5)

for row in "${rows[@]}"; do
    case $row in
        dual-pool) tricks=(--gp catavgmax) ;;
        label-smoothing) tricks=(--smoothing 0.1) ;;
        dropout-*) tricks=(--drop "${row#dropout-}") ;;
        all) tricks=(--gp catavgmax --smoothing 0.1 --drop 0.2) ;;
    esac
    run train "$1" "${vipf[@]}" \
        --model dsk_resnext50_32x4d --img-size 224 --criterion ce --epochs 360 \
        --smoothing 0 --drop 0 "${tricks[@]}" \
        "${@:2}" --experiment "$name-$row"
done
