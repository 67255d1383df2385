# shellcheck shell=bash
# Sourced by the recipes: `run COMMAND ARGS…` runs `timm-vipriors COMMAND ARGS…` as the environment asks.
#   GPUS=N         on N devices of this machine, through torchrun
#   NNODES=M NODE_RANK=I RDZV_ENDPOINT=HOST:PORT
#                  on M machines, as torchrun names it: start the recipe on every one of them, with the same flags, on
#                  the I-th (from 0) with NODE_RANK=I; HOST is the 0-th one, which also writes the results
#   DRY_RUN=1      print the command and stop
#   PYTHON=…       the interpreter, `python` if not set
set -euo pipefail

run() {
    local launcher=()
    if [ "${NNODES:-1}" != 1 ]; then
        if [ -z "${NODE_RANK:-}" ] || [ -z "${RDZV_ENDPOINT:-}" ]; then
            echo "NNODES=$NNODES needs NODE_RANK, from 0 on the machine of RDZV_ENDPOINT, and RDZV_ENDPOINT=HOST:PORT" >&2
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

# The same in one process, whatever GPUS and NNODES say.
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

# data_dir NAME "$@": the first argument, or a usage line and exit code 2.
data_dir() {
    local recipe=$1
    shift
    if [ $# -eq 0 ] || [[ $1 == -* ]]; then
        echo "usage: $recipe DATA [flags of timm-vipriors train …]" >&2
        echo "DATA is an image folder: DATA/train/CLASS/… and DATA/validation/CLASS/…" >&2
        exit 2
    fi
}

# run_name DEFAULT: what NAME says, or DEFAULT and the time. On several machines it must be the same on all.
run_name() {
    if [ -z "${NAME:-}" ] && [ "${NNODES:-1}" != 1 ]; then
        echo "this recipe trains several times: on several machines give all of them the same NAME=…" >&2
        exit 2
    fi
    echo "${NAME:-$1-$(date +%Y%m%d-%H%M%S)}"
}

# choose_rows ROW…: sets rows to the words of the variable ROW, or to all of these.
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
