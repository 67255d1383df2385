#!/usr/bin/env bash
# A plurality vote where the base model is not sure.
#
#   ./train_recipes/ensemble_plurality.sh OUT BASE.npz MEMBER.npz …
#
# Paper:    Kim, Algorithm 1 and Table 2: EfficientNet-B7 is the base
# Score:    0.67 top-1 from ten models, says an author's report of the challenge (byeongjokim.github.io, 2020-07-24);
#           the paper's table could not be read here; not rerun by us
# Settings: where the base's largest probability is below THRESHOLD (0.7 if the variable is not set), the class that
#           most models choose, the base among them, takes the place of the base's.
# Time:     seconds.
# Result:   OUT.csv with the predictions, OUT-submission.csv in the challenge's form.
# The score files come from `timm-vipriors predict`. DRY_RUN=1 prints the command.
source "$(dirname "$0")/common.sh"
if [ $# -lt 3 ] || [[ $1 == -* ]]; then
    echo "usage: $0 OUT BASE.npz MEMBER.npz …" >&2
    exit 2
fi

run_once ensemble vote --base "$2" --threshold "${THRESHOLD:-0.7}" "${@:3}" -o "$1.csv" \
    --submission "$1-submission.csv"
