#!/usr/bin/env bash
# VIPF's Table 1 on your own data: its seven rows over several seeds, in one table.
#
#   ./train_recipes/ablation_table1.sh DATA [--seeds N] [--jobs N] [-o DIR] [flags of timm-vipriors train …]
#
# Paper:    VIPF, Table 1, all rows
# Score:    those of the seven recipes, from 52.01 to 57.51 (paper); ours on the digits are in the README
# Settings: those of the seven recipes, which differ in the network and the loss alone; 3 seeds if --seeds does not say
#           otherwise. Each row is compared with the one that the paper's argument needs, and the paper's difference
#           stands beside ours.
# Hardware: one device for each run, as many at a time as there are devices, or as --jobs says
# Time:     7 × 3 runs of 360 epochs; --epochs for fewer
# Results:  in DIR, output/ablation_table1 if not given: the runs, table.md, table.csv, table.png, curves.png. The
#           pictures need `pip install 'timm-vipriors[plot]'`.
# Resume:   the same command; with more --seeds it adds those that are missing
# Flags of train go to all rows and win. DRY_RUN=1 prints the command, DRY_RUN=1 timm-vipriors ablation the runs.
source "$(dirname "$0")/common.sh"
arguments 1 "$@"

run_once ablation "$1" --rows \
    resnext50_32x4d d_resnext50_32x4d sk_resnext50_32x4d_noaa sk_resnext50_32x4d \
    dsk_resnext50_32x4d dsk_resnext50_32x4d_pcl dsk_resnext50_32x4d_pcl_center \
    -o output/ablation_table1 "${@:2}"
