# Completion of kubectl-clearwater in bash. `kubectl clearwater` itself is completed by kubectl's own completion, once
# `kubectl clearwater completion install` has put kubectl_complete-clearwater on the PATH.
_kubectl_clearwater() {
    local line="${COMP_LINE:0:COMP_POINT}" word="" cut="" value="" rest="" directive=0
    local -a words=()
    # The words between blanks: COMP_WORDS is cut at = : and @, too.
    read -ra words <<< "$line"
    case "$line" in *[[:space:]]) words+=("") ;; esac
    word="${words[${#words[@]} - 1]}"
    # What stands before the part that the shell replaces.
    cut="${word%"$2"}"
    COMPREPLY=()
    while IFS=$'\t' read -r value rest; do
        case "$value" in
        :[0-9]*) directive="${value#:}" ;;
        "$word"*) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done < <("$1" __complete "${words[@]:1}" 2> /dev/null)
    if ((directive & 2)); then
        compopt -o nospace 2> /dev/null
    fi
    return 0
}
complete -F _kubectl_clearwater kubectl-clearwater
