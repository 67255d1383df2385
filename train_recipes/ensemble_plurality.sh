#!/usr/bin/env bash
# A plurality vote where the base model is not sure.
#
#   ./train_recipes/ensemble_plurality.sh OUT BASE.npz MEMBER.npz …
#
# Paper:    Kim, Algorithm 1 and Table 2: ten models, EfficientNet-B7 is the base
# Score:    67.30 (paper, Table 2, test set); not run on VIPriors by us
# Settings: where the base's largest probability is below THRESHOLD (0.7 in the paper, and if the variable is not set),
#           the class that most models choose, the base among them, replaces the base's
# Time:     seconds
# Result:   OUT.csv with the predictions, OUT-submission.csv in the challenge's form
# The score files come from `timm-vipriors predict`. DRY_RUN=1 prints the command.
source "$(dirname "$0")/common.sh"
takes=(THRESHOLD)
arguments 3 "$@"

run_once ensemble vote --base "$2" --threshold "${THRESHOLD:-0.7}" "${@:3}" -o "$1.csv" \
    --submission "$1-submission.csv"
