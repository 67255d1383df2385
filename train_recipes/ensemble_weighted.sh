#!/usr/bin/env bash
# A weighted average of score files: three for the better models, one for the rest.
#
#   ./train_recipes/ensemble_weighted.sh OUT BETTER.npz … [-- OTHER.npz …]
#
# Paper:    VIPF, §4.4: 16 models of six families
# Score:    73.08 (paper, §4.4, test set); not run on VIPriors by us
# Settings: weight 3 for the files before the --, 1 for those after it. Not in the paper: which models are the better
#           ones. Scores of images held out tell: `timm-vipriors ensemble average --weights-from DIR` gives 3 and 1 by
#           them, and `timm-vipriors ensemble search` finds weights of any size.
# Time:     seconds
# Result:   OUT.csv with the predictions, OUT-submission.csv in the challenge's form, OUT.npz with the averages
# The score files come from predict_ten_crop.sh or `timm-vipriors predict`. DRY_RUN=1 prints the command.
source "$(dirname "$0")/common.sh"
arguments 2 "$@"

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
