# Completion of kubectl-clearwater in fish. `kubectl clearwater` itself is completed by kubectl's own completion, once
# `kubectl clearwater completion install` has put kubectl_complete-clearwater on the PATH.
function __kubectl_clearwater_complete
    set -l words (commandline --tokenize --current-process --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l program $words[1]
    set --erase words[1]
    $program __complete $words "$current" 2>/dev/null | string match --invert --regex '^:[0-9]+$'
end
complete --command kubectl-clearwater --no-files --keep-order --arguments '(__kubectl_clearwater_complete)'
