#!/usr/bin/env bash
# Kim's whole method: five networks, ten predictions of them, and a vote where EfficientNet-B7 is not sure.
#
#   ./train_recipes/kim_ensemble.sh DATA [flags of timm-vipriors train …]
#
# Paper:    Kim, Tables 1 and 2, Algorithm 1: ten models, EfficientNet-B7 is the base, threshold 0.7
# Score:    67.30 (paper, Table 2, test set); not run on VIPriors by us
# Settings: those of effnet_b3_fcl, effnet_b3_fcl_lsb, effnet_b4_fcl, effnet_b5_fcl and effnet_b7_fcl, each of which
#           predicts without and with TTA of three random views (the number is not in the paper; 3 in the authors'
#           script)
# Hardware: JOBS members at a time, each on a device of its own, or GPUS devices for each in turn
# Time:     5 runs of 450 epochs, of 100,000 images with FINAL=1 on VIPriors, and 5 × 4 predictions
# Results:  in output/train/NAME, kim_ensemble if it is not set, or kim_ensemble-final: a folder, a log and two score
#           files of each network, vote.csv, and submission.csv in the challenge's form
# Resume:   the same command
# FINAL=1 TEST=FOLDER trains on training and validation images, as the paper does, and predicts those of TEST. Flags
# after DATA go to all runs and win. --help lists the variables.
source "$(dirname "$0")/ensemble.sh"
takes+=(THRESHOLD)
arguments 1 "$@"
need_test
start_ensemble kim "$@"
set -- "$data" "${@:2}"
! is_final || set -- "$data" --val-split '' "${@:2}"

networks=(effnet_b7_fcl effnet_b5_fcl effnet_b4_fcl effnet_b3_fcl_lsb effnet_b3_fcl) # the longest first
for network in "${networks[@]}"; do
    train_member "$network" "$network" "$@"
done
finish_members

members=()
for network in "${networks[@]}"; do
    predict_member "${TEST:-$data}" "$network" "$network.npz" --ema --batch-size 32
    predict_member "${TEST:-$data}" "$network" "$network-tta.npz" --ema --batch-size 32 --tta randaug:3
    members+=("$folder/$network.npz" "$folder/$network-tta.npz")
done
run_once ensemble vote --base "${members[0]}" --threshold "${THRESHOLD:-0.7}" "${members[@]:1}" \
    -o "$folder/vote.csv" --submission "$folder/submission.csv" --force
for network in "${networks[@]}"; do
    list_members "$network" "$network"
done
