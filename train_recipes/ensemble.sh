# shellcheck shell=bash
# Sourced by the recipes of a paper's whole ensemble: its members are trained JOBS at a time, predict the images, and
# their times and scores are listed. All is in output/train/NAME (`folder`); the same command resumes.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck disable=SC2034
takes=(GPUS NAME JOBS FINAL TEST)
processes=()

# start_ensemble PAPER "$@": sets `folder`, and `data` as final_data does; ends the members that run when the recipe
# ends. Members that are trained on other data are an error, as they would not be trained again.
start_ensemble() {
    local paper=$1 name=$1_ensemble
    shift
    ! is_final || name+=-final
    folder=$(flag_value output/train --output "$@")/${NAME:-$name}
    final_data "$paper" "$@"
    unset NAME ROW LOSS TREE TTA # those of the members are set below
    export -n FINAL TEST
    if [ -z "${DRY_RUN:-}" ]; then
        mkdir -p "$folder"
        [ -e "$folder/data.txt" ] || absolute "$data" >"$folder/data.txt"
        if [ "$(cat "$folder/data.txt")" != "$(absolute "$data")" ]; then
            echo "$folder has members trained on $(cat "$folder/data.txt"), not on $data: choose another NAME" >&2
            exit 2
        fi
    fi
    set -m # each member is a process group
    trap end_members EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

end_members() {
    local process
    for process in ${processes[@]+"${processes[@]}"}; do
        kill -- "-$process" 2>/dev/null || true
    done
}

# train_member NAME RECIPE DATA FLAGS…: train a recipe in the background, as soon as fewer than JOBS members train. Its
# output goes to NAME.log, its time to NAME.seconds.
train_member() {
    local member=$1 recipe=$2 slot=0 devices
    shift 2
    if [ -n "${DRY_RUN:-}" ]; then
        NAME=$member "$(dirname "$0")/$recipe.sh" "$@" --output "$folder" --resume auto
        return
    fi
    while [ -n "${processes[slot]-}" ] && kill -0 "${processes[slot]}" 2>/dev/null; do
        slot=$(((slot + 1) % ${JOBS:-1}))
        sleep 0.2
    done
    finish_member "$slot"
    (
        if [ "${JOBS:-1}" != 1 ]; then
            IFS=, read -r -a devices <<<"${CUDA_VISIBLE_DEVICES:-$(seq -s, 0 "$((JOBS - 1))")}"
            export CUDA_VISIBLE_DEVICES=${devices[slot % ${#devices[@]}]}
        fi
        SECONDS=0
        NAME=$member "$(dirname "$0")/$recipe.sh" "$@" --output "$folder" --resume auto
        echo "$SECONDS" >>"$folder/$member.seconds"
    ) >>"$folder/$member.log" 2>&1 &
    processes[slot]=$!
    logs[slot]=$folder/$member.log
}

# finish_member SLOT: wait for what was started there; a failure ends the recipe.
finish_member() {
    [ -n "${processes[$1]-}" ] || return 0
    if ! wait "${processes[$1]}"; then
        echo "a member failed: $(tail -n 1 "${logs[$1]}"). All of it is in ${logs[$1]}; the same command resumes" >&2
        exit 1
    fi
    unset "processes[$1]"
}

finish_members() {
    local slot
    for slot in ${processes[@]+"${!processes[@]}"}; do
        finish_member "$slot"
    done
}

# predict_member IMAGES RUN SCORES FLAGS…: a run's scores, unless they are there, newer than it and of these images.
predict_member() {
    local checkpoint=$folder/$2/last.pth.tar scores=$folder/$3 images
    images=$(dirname "$scores")/images.txt
    if [ -z "${DRY_RUN:-}" ]; then
        mkdir -p "$(dirname "$scores")"
        [ "$(cat "$images" 2>/dev/null)" = "$1" ] || printf '%s\n' "$1" >"$images"
        if [ "$scores" -nt "$checkpoint" ] && [ "$scores" -nt "$images" ]; then
            return
        fi
    fi
    run_once predict "$1" --checkpoint "$checkpoint" -o "$scores" --force "${@:4}"
}

# accuracy RUN: the last top-1 accuracy of a run on its validation images, by its summary.csv; a dash if it has none.
accuracy() {
    awk -F, '$1 == "epoch" { for (i = 1; i <= NF; i++) column[$i] = i; next }
        { top1 = "eval_top1" in column ? sprintf("%.2f %%", $column["eval_top1"]) : "–" }
        END { print top1 }' "$folder/$1/summary.csv"
}

# list_members NAME RUN…: the time of a member's runs, those before a stop included, and the accuracy of each run on one
# crop of its validation images after the last epoch.
list_members() {
    local run minutes
    [ -z "${DRY_RUN:-}" ] || return 0
    minutes=$(awk '{ sum += $1 } END { print sum / 60 }' "$folder/$1.seconds")
    for run in "${@:2}"; do
        printf '%-32s %9.1f min %10s\n' "$run" "$minutes" "$(accuracy "$run")"
    done
}
