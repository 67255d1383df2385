#!/usr/bin/env bash
# VIPF's Table 1 on your own data: its seven rows over several seeds, in one table.
#
#   ./train_recipes/ablation_table1.sh DATA [--seeds N] [--jobs N] [-o DIR] [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, all rows
# Score:    the paper's numbers could not be read here; on the digits ours are in the project's README
# Settings: those of the seven recipes; 3 seeds if --seeds does not say otherwise
# Hardware: one device a training, as many at a time as there are devices, or --jobs says
# Time:     7 × 3 trainings of 360 epochs; --epochs for fewer
# Results:  in DIR, output/ablation_table1 if not given: the trainings, table.md, table.csv, table.png, curves.png. The
#           pictures need `pip install 'timm-vipriors[plot]'`.
# After a stop the same command goes on; with more --seeds it adds those that are missing. Flags of train go to all rows
# and win. DRY_RUN=1 prints the command.
source "$(dirname "$0")/common.sh"
data_dir "$0" "$@"

run_once ablation "$1" --rows \
    resnext50_32x4d d_resnext50_32x4d sk_resnext50_32x4d_noaa sk_resnext50_32x4d \
    dsk_resnext50_32x4d dsk_resnext50_32x4d_pcl dsk_resnext50_32x4d_pcl_center \
    -o output/ablation_table1 "${@:2}"
