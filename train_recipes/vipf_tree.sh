# shellcheck shell=bash
# Sourced by the recipes of VIPF's Table 2. `without_and_with_tree RECIPE "$@"` trains `network` without tree
# supervision, makes the tree of its classes (§3.2, Eq. 7), and trains `network` with it. The paper's "induced hierarchy"
# is "defined according to the semantic relationship" of the classes; how it was made is not in the paper. Ours is induced
# from the baseline's classifier, as NBDT does it, unless TREE is wordnet (from the names of the class folders) or a file.
# Several machines must share output/.
source "$(dirname "${BASH_SOURCE[0]}")/vipf.sh"
takes+=(ROW TREE FINAL)

without_and_with_tree() {
    local recipe=$1 data=$2 name output tree row flags
    shift 2
    choose_rows baseline tsl
    name=$(run_name "$recipe")
    final_data vipf "$data" "$@"
    output=$(flag_value output/train --output "$@")
    tree=${TREE:-induced}
    case $tree in
        induced | wordnet) tree=$output/$name-tsl-tree.json ;;
    esac

    for row in "${rows[@]}"; do
        flags=(--criterion ce)
        if [ "$row" = tsl ]; then
            case ${TREE:-induced} in
                induced) make_tree induce "$output/$name-baseline/last.pth.tar" --classes "$data" ;;
                wordnet) make_tree wordnet "$data" ;;
            esac
            flags=(--criterion ce+tsl --hierarchy "$tree")
        fi
        # shellcheck disable=SC2154  # the recipe sets network
        run train "$data" "${vipf_schedule[@]}" "${vipf_tricks[@]}" --epochs 720 "${network[@]}" "${flags[@]}" \
            "$@" --experiment "$(experiment "$name" "$row" "$@")" --output "$output"
    done
}

make_tree() {
    make_once "$tree" hierarchy "$@" -o "$tree" --force
}
