#!/usr/bin/env bash
# Tests the editor plugins in real editors against the real program; see test.sh of each for what it needs.
set -euo pipefail
cd "$(dirname "$0")"

for suite in nvim vscode; do
    if [ -x "$suite/test.sh" ]; then
        printf '\n--- %s\n' "$suite"
        "$suite/test.sh"
    fi
done
