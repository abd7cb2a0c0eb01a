# Completion of kubectl-clearwater in PowerShell. `kubectl clearwater` itself is completed by kubectl's own completion,
# once `kubectl clearwater completion install` has put kubectl_complete-clearwater on the PATH.
Register-ArgumentCompleter -Native -CommandName 'kubectl-clearwater' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $program = $commandAst.CommandElements[0].Extent.Text
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 |
            Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.Extent.Text })
    $last = "$wordToComplete"
    # Before 7.3 an empty word is lost on its way to a program.
    if ($last -eq '' -and $PSVersionTable.PSVersion -lt [version]'7.3') { $last = '""' }
    & $program __complete @words $last 2>$null | Where-Object { $_ -notmatch '^:\d+$' } | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
}
