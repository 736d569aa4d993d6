#!/usr/bin/env bash
# Tests the VS Code extension: types, lint, unit tests, package, and the package in the real editor.
# Usage: test.sh. The server is the one that PLOKE_IO_BIN names, else the one that cargo has built.
# Needs bash, Node.js 20 or newer with npm, and on Debian root or sudo where Chromium is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cache=$(mkdir -p ../.cache && cd ../.cache && pwd)
trap 'echo "FAILED: editors/vscode/test.sh, line $LINENO" >&2' ERR

# Only what package-lock.json says, and only once for each version of it.
lock=$(sha256sum package-lock.json | cut -d ' ' -f 1)
if [ "$(cat node_modules/.lock 2>/dev/null || true)" != "$lock" ]; then
  npm ci --loglevel=error
  echo "$lock" >node_modules/.lock
fi

echo "== types, lint, unit tests and transcripts"
npm run --silent types:check
npm run --silent check
npm run --silent lint
npm run --silent build -- --tests
node --test --test-reporter=spec out/test/

echo "== package"
npm run --silent package >/dev/null
(cd test/e2e/probe && ../../../node_modules/.bin/vsce package --no-dependencies --skip-license \
  --allow-missing-repository --out ../../../out/ploke-probe.vsix >/dev/null)

echo "== the real editor"
test/install.sh "$cache"
node test/e2e/run.mjs "$cache"
