#!/usr/bin/env bash
# DSK-ResNeXt50 and 101 at 224 and 320 pixels.
#
#   ./train_recipes/vipf_table3.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 3, final stage (FINAL=1); 101-320 is its best single model
# Score:    50-224: 67.35, 50-320: 69.20, 101-224: 68.02, 101-320: 69.59 (paper, reserved part of the validation set);
#           not run on VIPriors by us
# Settings: §4.1 (vipf.sh), 540 epochs. Not in the paper: the loss. LOSS=ce, cross-entropy, if it is not set;
#           LOSS=pcl+center is the paper's full objective without a tree, which is as plausible.
# Hardware: 16 GPUs with 64 images each in the paper (GPUS=8 NNODES=2 …)
# Time:     540 epochs a row, of 95,000 images with FINAL=1 on VIPriors
# Rows:     ROW=50-224, 50-320, 101-224 or 101-320, or several; all four in turn if it is not set
# Results:  in output/train/NAME-ROW
# Flags after DATA go to every row and win. --help lists the variables.
source "$(dirname "$0")/vipf.sh"
takes+=(ROW LOSS FINAL)
arguments 1 "$@"
choose_rows 50-224 50-320 101-224 101-320
name=$(run_name vipf_table3)
final_data vipf "$@"

for row in "${rows[@]}"; do
    run train "$data" "${vipf[@]}" "${last_batchnorm[@]}" \
        --model "dsk_resnext${row%-*}_32x4d" --img-size "${row#*-}" --criterion "${LOSS:-ce}" --epochs 540 \
        "${@:2}" --experiment "$(experiment "$name" "$row" "${@:2}")"
done
