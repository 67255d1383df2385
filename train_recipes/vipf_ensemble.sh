#!/usr/bin/env bash
# VIPF's whole method: 16 models of six families, ten crops of every image, and a weighted average.
#
#   ./train_recipes/vipf_ensemble.sh DATA [flags of timm-vipriors train …]
#
# Paper:    VIPF, §4.4: 16 models of EfficientNet-b5 and b6, ResNeSt-101 and 200, DSK-ResNeXt50 and 101; ten crops
#           (§4.1)
# Score:    73.08 (paper, test set); not run on VIPriors by us
# Settings: those of effnet_b5_tsl, effnet_b6_tsl, resnest101_tsl, resnest200_tsl and vipf_table3. Not in the paper:
#           which 16 models. Table 2 has 8 of these families and Table 3 has 4; with both readings of its loss that
#           makes 16. Weight 3 for the better ones, 1 for the rest; not in the paper: which are better. Here those whose
#           top-1 accuracy over ten crops of the validation images is not below the median of all: 8, or more where
#           several are equal there.
# Hardware: JOBS members at a time, each on a device of its own, or GPUS devices for each in turn
# Time:     8 runs of 720 epochs and 8 of 540, of 95,000 images with FINAL=1 on VIPriors, and 16 × 10 predictions
# Results:  in output/train/NAME, vipf_ensemble if it is not set, or vipf_ensemble-final: a folder, a log and a score
#           file of each model, that of the validation images in held_out; average.csv, and submission.csv in the
#           challenge's form
# Resume:   the same command
# FINAL=1 trains on training and most validation images, as the paper does; TEST=FOLDER are the images to predict.
# Flags after DATA go to all runs and win. --help lists the variables.
source "$(dirname "$0")/ensemble.sh"
arguments 1 "$@"
start_ensemble vipf "$@"
set -- "$data" "${@:2}"

runs=()
for recipe in resnest200_tsl resnest101_tsl effnet_b6_tsl effnet_b5_tsl; do
    train_member "$recipe" "$recipe" "$@"
    runs+=("$recipe-baseline" "$recipe-tsl")
done
for loss in ce pcl+center; do
    for row in 101-320 101-224 50-320 50-224; do
        ROW=$row LOSS=$loss train_member "dsk-$loss-$row" vipf_table3 "$@" --experiment "dsk-$loss-$row"
        runs+=("dsk-$loss-$row")
    done
done
finish_members

for run in "${runs[@]}"; do
    predict_member "${TEST:-$data}" "$run" "$run.npz" --tta ten-crop
    if [ -n "${TEST:-}" ]; then
        predict_member "$data" "$run" "held_out/$run.npz" --tta ten-crop
    else
        execute mkdir -p "$folder/held_out"
        execute cp "$folder/$run.npz" "$folder/held_out/"
    fi
done
members=("${runs[@]/#/$folder/}")
run_once ensemble average "${members[@]/%/.npz}" --weights-from "$folder/held_out" \
    -o "$folder/average.csv" --submission "$folder/submission.csv" --force
[ -n "${TEST:-}${DRY_RUN:-}" ] || echo "TEST is not set: the average is measured on the images that chose its weights"
for recipe in resnest200_tsl resnest101_tsl effnet_b6_tsl effnet_b5_tsl; do
    list_members "$recipe" "$recipe-baseline" "$recipe-tsl" # the time is that of both
done
for run in "${runs[@]:8}"; do
    list_members "$run" "$run"
done
