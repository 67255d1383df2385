# shellcheck shell=bash
# Sourced by the recipes: how a command is run, and what the variables of all recipes mean.
set -euo pipefail

# variables: a line for each variable that the recipe takes, by its array `takes`, and for those of all recipes.
variables() {
    local variable text
    echo 'Variables:'
    while read -r variable text; do
        if [[ " DRY_RUN PYTHON ${takes[*]-} " == *" ${variable%%=*} "* ]]; then
            printf '  %-24s %s\n' "$variable" "$text"
        fi
    done <<'END'
GPUS=N train on N devices of this machine, through torchrun
NNODES=M train on M machines: start it on each, with the same flags, NODE_RANK and RDZV_ENDPOINT
NODE_RANK=I which of these machines this is, from 0; the 0-th writes the results
RDZV_ENDPOINT=HOST:PORT the 0-th machine and a free port of it
ROW=ROW which rows to train, separated by spaces; all in turn if it is not set
NAME=NAME the run's name, or the beginning of its runs' names; has the time in it if it is not set
LOSS=SPEC the loss, as --criterion takes it
TREE=induced|wordnet|FILE the tree of the classes: from the baseline's classifier (default), WordNet's, or a file
FINAL=1 train on training and validation images together, as the papers do for their final models
TTA=N also predict over N random views
TEST=FOLDER images to predict, such as the challenge's test set; DATA/validation if it is not set
LRS=RATES learning rates to try, for 1,024 images
WDS=DECAYS weight decays to try
TUNE_SEEDS=N runs of each pair that is tried
TUNE_EPOCHS=N epochs of these runs
JOBS=N members at a time, each on a device of its own; one if it is not set
THRESHOLD=P the base's prediction stands where its largest probability is at least P
DRY_RUN=1 print the commands and run nothing
PYTHON=FILE the interpreter; python if it is not set
END
}

# arguments LEAST "$@": --help prints the recipe's head and variables; fewer than LEAST arguments before the flags are
# an error.
arguments() {
    local least=$1 i
    shift
    if [[ ${1-} == --help || ${1-} == -h ]]; then
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        variables
        exit
    fi
    for ((i = 1; i <= least; i++)); do
        if [ $# -lt "$i" ] || [[ ${!i} == -* ]]; then
            echo "usage: $0 $(sed -n 's|^#   ./train_recipes/[^ ]* ||p' "$0")  (--help says more)" >&2
            variables >&2
            exit 2
        fi
    done
    if is_final && [[ " ${takes[*]-} " != *' FINAL '* ]]; then
        echo "FINAL=1 is not for this recipe: its rows are trained on the training images alone" >&2
        exit 2
    fi
    if [ -n "${TEST:-}" ] && [ -z "${DRY_RUN:-}" ] && [ ! -e "$TEST" ]; then
        echo "TEST=$TEST is not there: expected a folder with the images to predict" >&2
        exit 2
    fi
}

is_final() {
    [ "${FINAL:-0}" != 0 ]
}

# final_data PAPER "$@": sets `data` to DATA. With FINAL=1 that is a folder of its training and validation images, which
# is made first, beside the runs. Kim trains on all of them. VIPF keeps "a little" of the validation images back; how
# many is not in the paper: 10 % of each class, 5 of VIPriors' 50.
final_data() {
    local paper=$1 how=(--reserve 10%)
    data=$2
    is_final || return 0
    data=$(flag_value output/train --output "${@:3}")/$(basename -- "$(absolute "$data")")-final-$paper
    [ "$paper" = vipf ] || how=(--splits train=100%)
    make_once "$data/manifest.csv" subset "$2/train" "$2/validation" "$data" "${how[@]}"
}

absolute() {
    (cd -- "$1" 2>/dev/null && pwd) || printf '%s\n' "$1"
}

# need_test: Kim's final models have no validation images.
need_test() {
    if is_final && [ -z "${TEST:-}" ]; then
        echo "FINAL=1 trains on the validation images too: name the images to predict with TEST=FOLDER" >&2
        exit 2
    fi
}

# make_once FILE COMMAND ARGS…: on the 0-th machine; the others wait until FILE is there, for ten minutes.
make_once() {
    local seconds
    if [ "${NODE_RANK:-0}" = 0 ]; then
        run_once "${@:2}"
        return
    fi
    for ((seconds = 0; seconds < 600; seconds++)); do
        [ -z "${DRY_RUN:-}" ] && [ ! -e "$1" ] || return 0
        sleep 1
    done
    echo "$1 is not there after ten minutes: is its folder shared with the machine of NODE_RANK=0?" >&2
    exit 1
}

# run COMMAND ARGS…: `timm-vipriors COMMAND ARGS…`, on the devices and machines that the variables name.
run() {
    local launcher=()
    if [ "${NNODES:-1}" != 1 ]; then
        if [ -z "${NODE_RANK:-}" ] || [ -z "${RDZV_ENDPOINT:-}" ]; then
            echo "NNODES=$NNODES needs NODE_RANK, 0 on the machine of RDZV_ENDPOINT, and RDZV_ENDPOINT=HOST:PORT" >&2
            exit 2
        fi
        launcher=(--nnodes="$NNODES" --node_rank="$NODE_RANK" --rdzv_backend=static --rdzv_endpoint="$RDZV_ENDPOINT")
    elif [ "${GPUS:-1}" != 1 ]; then
        launcher=(--standalone)
    else
        run_once "$@"
        return
    fi
    execute "${PYTHON:-python}" -m torch.distributed.run "${launcher[@]}" --nproc_per_node="${GPUS:-1}" \
        -m timm_vipriors "$@"
}

# train DATA FLAGS…: a run, called NAME if that is set and no --experiment follows.
train() {
    run train "$1" ${NAME:+--experiment "$NAME"} "${@:2}"
}

# run_once COMMAND ARGS…: the same in one process, whatever GPUS and NNODES say.
run_once() {
    execute "${PYTHON:-python}" -m timm_vipriors "$@"
}

execute() {
    if [ -n "${DRY_RUN:-}" ]; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}

# run_name DEFAULT: NAME, or DEFAULT, the time and the process. On several machines it must be the same on all.
run_name() {
    if [ -z "${NAME:-}" ] && [ "${NNODES:-1}" != 1 ]; then
        echo "this recipe trains several times: on several machines give all of them the same NAME=…" >&2
        exit 2
    fi
    echo "${NAME:-$1-$(date +%Y%m%d-%H%M%S)-$$}"
}

# choose_rows ROW…: sets `rows` to the words of the variable ROW, or to all of these.
choose_rows() {
    local row
    rows=("$@")
    [ -n "${ROW:-}" ] || return 0
    read -r -a rows <<<"$ROW"
    for row in "${rows[@]}"; do
        if [[ " $* " != *" $row "* ]]; then
            echo "ROW=$row is not a row of this recipe: choose from $*" >&2
            exit 2
        fi
    done
}

# experiment NAME ROW "$@": the name of a row's run: that of the flag --experiment for a single row, otherwise NAME-ROW.
experiment() {
    local default=$1-$2
    shift 2
    if [ "${#rows[@]}" = 1 ]; then
        flag_value "$default" --experiment "$@"
    else
        printf '%s\n' "$default"
    fi
}

# flag_value DEFAULT FLAG "$@": what the last FLAG among the arguments is given, or DEFAULT.
flag_value() {
    local value=$1 flag=$2
    shift 2
    while [ $# -gt 0 ]; do
        case $1 in
            "$flag") value=${2-} ;;
            "$flag"=*) value=${1#*=} ;;
        esac
        shift
    done
    printf '%s\n' "$value" # echo would take a -n for its own
}
