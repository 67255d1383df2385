# shellcheck shell=bash
# Sourced by the recipes of VIPF's Table 2. `train_without_and_with_tree RECIPE MODEL "$@"` trains a row without tree
# supervision, makes the tree of its classes (§3.2, Eq. 7), and trains the row with it.
#   NAME=…  the results are in output/train/NAME-baseline and NAME-tsl, the tree in output/train/NAME-tsl-tree.json;
#           the recipe's name and the time if it is not set. On several machines output/ must be a shared folder.
source "$(dirname "${BASH_SOURCE[0]}")/vipf.sh"

train_without_and_with_tree() {
    local recipe=$1 model=$2 data=$3 name output tree settings
    shift 3
    name=$(run_name "$recipe")
    output=$(flag_value output/train --output "$@")
    tree=$output/$name-tsl-tree.json
    settings=("${vipf[@]}" --model "$model" --img-size 320 --epochs 720)

    run train "$data" "${settings[@]}" --criterion ce "$@" --experiment "$name-baseline" --output "$output"
    if [ "${NODE_RANK:-0}" = 0 ]; then
        run_once hierarchy induce "$output/$name-baseline/last.pth.tar" --classes "$data/train" -o "$tree"
    elif [ -z "${DRY_RUN:-}" ]; then
        await "$tree"
    fi
    run train "$data" "${settings[@]}" --criterion ce+tsl --hierarchy "$tree" "$@" \
        --experiment "$name-tsl" --output "$output"
}

# Wait until the 0-th machine has written a file, for ten minutes.
await() {
    local seconds
    for ((seconds = 0; seconds < 600; seconds++)); do
        [ ! -e "$1" ] || return 0
        sleep 1
    done
    echo "$1 is not there after ten minutes: is its folder shared with the machine of NODE_RANK=0?" >&2
    exit 1
}
