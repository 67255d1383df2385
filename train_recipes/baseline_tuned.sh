#!/usr/bin/env bash
# A tuned baseline: ResNeXt50_32x4d with plain cross-entropy, its learning rate and weight decay tuned on your data.
#
#   ./train_recipes/baseline_tuned.sh DATA [flags of timm-vipriors train …]
#
# Paper:    none; after Brigato et al., "Image Classification with Small Datasets: Overview and Benchmark", IEEE Access
#           2022 (GEM), where a tuned cross-entropy baseline was better on average than ten of eleven methods, DSK among
#           them
# Score:    not run on VIPriors by us
# Settings: those of resnext50_32x4d.sh, so the baseline gets what the methods get (CutMix, dropout, label smoothing). A
#           fifth of the training images of every class is set apart; all pairs of LRS (for 1,024 images, scaled to your
#           batch) and WDS train on the rest, TUNE_SEEDS times each; the best pair then trains on all of them. The
#           validation images take no part in the choice. With a handful of images of each class the fifth is small and
#           many pairs tie: more TUNE_SEEDS make the choice finer.
# Hardware: one device for each of the short runs, as many at a time as there are devices
# Time:     12 runs to tune and one more. TUNE_EPOCHS=N shortens the 12, but a short run likes other values.
# Results:  in output/train/NAME; the search in output/train/NAME-search, with a table. NAME is baseline_tuned if it is
#           not set.
# Resume:   the same command
# Flags after DATA go to all runs and win, but for --experiment, which NAME sets; another --model needs an empty
# --model-kwargs too. GPUS=N: N runs of the search at a time, and the last one on N devices. --help lists the
# variables.
source "$(dirname "$0")/common.sh"
takes=(GPUS NAME LRS WDS TUNE_SEEDS TUNE_EPOCHS)
arguments 1 "$@"
if [ "${NNODES:-1}" != 1 ]; then
    echo "tune on one machine, and give what it finds to resnext50_32x4d.sh on several" >&2
    exit 2
fi
if [ -n "$(flag_value '' --lr "${@:2}")" ]; then
    echo "--lr would override what is tuned: set LRS='…', learning rates for 1,024 images" >&2
    exit 2
fi

name=${NAME:-baseline_tuned}
output=$(flag_value output/train --output "${@:2}")
search=$output/$name-search
rows=()
for lr in ${LRS:-0.1 0.3 1.0}; do
    for wd in ${WDS:-1e-4 5e-4 2e-3 5e-3}; do
        rows+=("resnext50_32x4d --lr-base $lr --weight-decay $wd")
    done
done

run_once subset "$1/train" "$search/data" --splits train=80%,validation=20%
run_once ablation "$search/data" --rows "${rows[@]}" --seeds "${TUNE_SEEDS:-1}" -o "$search/runs" "${@:2}" \
    ${TUNE_EPOCHS:+--epochs "$TUNE_EPOCHS"}
if [ -n "${DRY_RUN:-}" ]; then
    best=${rows[0]}
    echo "the last run takes the best of these ${#rows[@]}, here the first" >&2
else
    best=$(awk -F, '
        NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
        $column["top1"] > top { top = $column["top1"]; row = $column["row"] }
        END { print row }' "$search/runs/table.csv")
    echo "Best of ${#rows[@]}: $best"
fi
read -r _ lr_flag lr wd_flag wd <<<"$best"
"$(dirname "$0")/resnext50_32x4d.sh" "$1" "${@:2}" "$lr_flag" "$lr" "$wd_flag" "$wd" \
    --experiment "$name" --output "$output" --resume auto
