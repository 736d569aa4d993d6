#!/usr/bin/env bash
# Lints the plugin and tests it in real Neovims against the real program.
# usage: test.sh [CASE...]     such as `test.sh api life`; all of tests/cases by default
#
# PLOKE_IO_BIN  the program; by default what cargo has built, release before debug
# PLOKE_NVIM    a Neovim to test in, instead of those that are installed into editors/.cache
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD cache=$(realpath ../.cache -m)

main() {
    program=$(find_program) failed=
    lint
    if [ -n "${PLOKE_NVIM:-}" ]; then
        run_tests "$PLOKE_NVIM" "$@"
    else
        run_tests "$(neovim trixie)" "$@"
        run_tests "$(neovim sid)" "$@"
    fi
    [ -z "$failed" ] || { echo "test.sh: there are failures" >&2; return 1; }
}

find_program() {
    local candidate
    for candidate in "${PLOKE_IO_BIN:-}" ../../target/release/ploke-io ../../target/debug/ploke-io; do
        if [ -n "$candidate" ]; then
            [ -x "$candidate" ] && realpath "$candidate" && return
            [ "$candidate" != "${PLOKE_IO_BIN:-}" ] || break
        fi
    done
    echo "test.sh: there is no program to test${PLOKE_IO_BIN:+ at $PLOKE_IO_BIN}: run \`cargo build\`" >&2
    return 1
}

# Debian's stable release has Neovim 0.10, its unstable one the newest.
neovim() {
    local directory=$cache/nvim-$1
    if [ ! -x "$directory/bin/nvim" ]; then
        ../install-nvim.sh "$directory" "$1" lua-check b3sum >&2
    fi
    echo "$directory/bin/nvim"
}

lint() {
    local tools
    tools=$(dirname "$(dirname "$(neovim sid)")")
    echo "luacheck"
    LUA_PATH="$tools/usr/share/lua/5.1/?.lua;$tools/usr/share/lua/5.1/?/init.lua" \
        LUA_CPATH="$(dirname "$(find "$tools/usr/lib" -name lfs.so -path '*5.1*')")/?.so" \
        "$tools/usr/bin/lua5.1" "$tools/usr/bin/luacheck" --quiet .
    if command -v npm >/dev/null; then
        echo "stylua"
        [ -d "$cache/stylua/node_modules" ] ||
            npm install --silent --no-audit --no-fund --prefix "$cache/stylua" @johnnymorganz/stylua@2.5.2
        NODE_PATH=$cache/stylua/node_modules node tests/stylua.cjs
    else
        echo "SKIPPED stylua: there is no npm"
    fi
}

run_tests() {
    local nvim=$1 case
    shift
    "$nvim" --version | head -n 1
    [ $# -gt 0 ] || set -- $(basename -s .lua tests/cases/*.lua)
    for case in "$@"; do
        echo "$case"
        run_case "$nvim" "$case" || failed=yes
    done
}

run_case() {
    local home status=0
    home=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$home'" EXIT
    mkdir "$home"/{config,data,state,cache,tmp}
    env HOME="$home" TMPDIR="$home/tmp" PLOKE_PLUGIN="$here" \
        B3SUM="$cache/nvim-sid/usr/bin/b3sum" \
        XDG_CONFIG_HOME="$home/config" XDG_DATA_HOME="$home/data" \
        XDG_STATE_HOME="$home/state" XDG_CACHE_HOME="$home/cache" \
        timeout 180 "$1" --clean --headless \
        --cmd "let g:ploke = {'cmd': ['$program']}" \
        --cmd "set rtp^=$here" \
        --cmd "lua package.path = '$here/tests/?.lua;' .. package.path" \
        -c "luafile tests/cases/$2.lua" -c "cquit 1" </dev/null || status=$?
    rm -rf "$home"
    trap - EXIT
    return "$status"
}

main "$@"
