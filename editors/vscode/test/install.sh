#!/usr/bin/env bash
# Brings what the tests in the real editor need: code-server (VS Code as a web server) into CACHE, and Chromium into the system.
# Usage: install.sh CACHE. What is there already in the right version is left as it is.
set -euo pipefail

cache=$(mkdir -p "${1:?usage: install.sh CACHE}" && cd "$1" && pwd)
node_version=24.21.0
code_server_version=4.139.1
runtime=$cache/node-$node_version
server=$cache/code-server-$code_server_version
npm_install=(npm install --no-save --no-audit --no-fund --loglevel=error)

if ! command -v chromium >/dev/null; then
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi

# code-server runs on one release line of Node.js only, whatever the system has.
if [ ! -e "$runtime/.complete" ]; then
  "${npm_install[@]}" --prefix "$runtime" "node@$node_version"
  ln -sfn "$(dirname "$(dirname "$(find "$runtime/node_modules" -path '*/bin/node' -type f | head -n 1)")")" "$runtime/home"
  touch "$runtime/.complete"
fi
PATH=$(dirname "$(readlink -f "$runtime/home/bin/node")"):$PATH
export PATH npm_config_nodedir=$runtime/home

# Its own install scripts build much that no test uses; only what VS Code can not start without is built here.
if [ ! -e "$server/.complete" ]; then
  "${npm_install[@]}" --prefix "$server" --omit=dev --ignore-scripts "code-server@$code_server_version"
  vscode=$server/node_modules/code-server/lib/vscode
  (cd "$vscode" && "${npm_install[@]}" --omit=dev --ignore-scripts)
  (cd "$vscode" && npm rebuild --loglevel=error @vscode/spdlog node-pty @vscode/native-watchdog)
  (cd "$vscode/extensions" && "${npm_install[@]}" --omit=dev --ignore-scripts)
  touch "$server/.complete"
fi
