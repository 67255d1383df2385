#!/usr/bin/env bash
# A weighted average of score files: three for the better models, one for the rest.
#
#   ./train_recipes/ensemble_weighted.sh OUT BETTER.npz … [-- OTHER.npz …]
#
# Paper:    VIPF, §4.4: the ensemble that won the challenge
# Score:    the paper's number could not be read here; not rerun by us
# Settings: weight 3 for the files before the --, 1 for those after it. Which models are the better ones says a labelled
#           split: their own top-1 there, or `timm-vipriors ensemble search` for weights of any size.
# Time:     seconds.
# Result:   OUT.csv with the predictions, OUT-submission.csv in the challenge's form, OUT.npz with the averages.
# The score files come from predict_ten_crop.sh or `timm-vipriors predict`. DRY_RUN=1 prints the command.
source "$(dirname "$0")/common.sh"
if [ $# -lt 2 ] || [[ $1 == -* ]]; then
    echo "usage: $0 OUT BETTER.npz … [-- OTHER.npz …]" >&2
    exit 2
fi

out=$1
weight=3
members=()
for file in "${@:2}"; do
    if [ "$file" = -- ]; then
        weight=1
    else
        members+=("$file:$weight")
    fi
done

run_once ensemble average "${members[@]}" -o "$out.csv" --submission "$out-submission.csv" --scores-out "$out.npz"
