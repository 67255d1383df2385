#!/usr/bin/env bash
# The recommended start for your own images: model, size, batch and epochs from the data and this machine's speed.
#
#   ./train_recipes/small.sh DATA [--fast] [--minutes M] [flags of timm-vipriors train …]
#
# Data:     DATA has the folders train and validation, each with a folder for each class.
# Settings: ours; not a row of a paper. Each choice is printed with its reason; `timm-vipriors suggest DATA` prints them
#           without a run.
# Time:     a second for each training image, at least 3 and at most 25 minutes; --minutes M sets it, --fast is a
#           fifth of it.
# Score:    see tests/benchmarks/evidence/RESULTS.md.
# Flags come last and win. --help lists the variables.
source "$(dirname "$0")/common.sh"
takes=(NAME)
arguments 1 "$@"

run_once suggest "$1" --run ${NAME:+--experiment "$NAME"} "${@:2}"
