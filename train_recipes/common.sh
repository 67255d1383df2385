# Sourced by the recipes: `run COMMAND ARGS…` runs `timm-vipriors COMMAND ARGS…` as the environment asks.
#   GPUS=N      on N devices of this machine, through torchrun
#   DRY_RUN=1   print the command and stop
#   PYTHON=…    the interpreter, `python` if not set
set -euo pipefail

run() {
    if [ "${GPUS:-1}" -gt 1 ]; then
        execute "${PYTHON:-python}" -m torch.distributed.run --standalone --nproc_per_node="$GPUS" \
            -m timm_vipriors "$@"
    else
        run_once "$@"
    fi
}

# The same in one process, whatever GPUS says.
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
