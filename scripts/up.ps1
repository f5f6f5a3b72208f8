# The Makefile's commands where there is no make. Maloca is tested on Linux only: on Windows this
# is expected to work, and nobody has promised it.
#
#   powershell -ExecutionPolicy Bypass -File scripts\up.ps1                    as `make up`
#   powershell -ExecutionPolicy Bypass -File scripts\up.ps1 up --port 9000     as `make up ARGS="--port 9000"`
#   powershell -ExecutionPolicy Bypass -File scripts\up.ps1 test               as `make test`

$ErrorActionPreference = "Stop"
$bootstrap = Join-Path $PSScriptRoot "bootstrap.py"

$words = @($args)
if ($words.Count -eq 0 -or "$($words[0])".StartsWith("-")) { $words = @("up") + $words }

if (Get-Command py -ErrorAction SilentlyContinue) { & py -3 $bootstrap @words }
elseif (Get-Command python -ErrorAction SilentlyContinue) { & python $bootstrap @words }
else {
    [Console]::Error.WriteLine("Python 3.11 or newer is needed: winget install Python.Python.3.12")
    exit 1
}
exit $LASTEXITCODE
