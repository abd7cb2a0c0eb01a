#compdef kubectl-clearwater
# Completion of kubectl-clearwater in zsh. `kubectl clearwater` itself is completed by kubectl's own completion, once
# `kubectl clearwater completion install` has put kubectl_complete-clearwater on the PATH.
_kubectl-clearwater() {
    local line value directive=0
    local -a candidates
    while IFS= read -r line; do
        if [[ "$line" == :[0-9]* ]]; then
            directive="${line#:}"
            continue
        fi
        value="${line%%$'\t'*}"
        value="${value//:/\\:}"
        if [[ "$line" == *$'\t'* ]]; then
            value+=":${line#*$'\t'}"
        fi
        candidates+=("$value")
    done < <("${words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2> /dev/null)
    if ((directive & 2)); then
        _describe -V candidate candidates -S ''
    else
        _describe -V candidate candidates
    fi
}
if [[ "${funcstack[1]}" == _kubectl-clearwater ]]; then
    _kubectl-clearwater "$@"
else
    compdef _kubectl-clearwater kubectl-clearwater
fi
