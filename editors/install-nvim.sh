#!/usr/bin/env bash
# Unpacks Neovim, and more Debian packages if asked, into a directory of its own; nothing of the system changes.
#
# usage: install-nvim.sh DIRECTORY RELEASE [PACKAGE...]
#
# Afterwards DIRECTORY/bin/nvim runs. Works on Debian and its like, without root: apt resolves and downloads against an
# empty list of installed packages, so that libc and all libraries come along, and each program is then told to use
# these instead of the system's. The directory must not be moved afterwards.
set -euo pipefail

directory=$(realpath -m "${1:?usage: install-nvim.sh DIRECTORY RELEASE [PACKAGE...]}")
release=${2:?usage: install-nvim.sh DIRECTORY RELEASE [PACKAGE...]}
shift 2
# In every directory that may be replaced.
mark=.made-by-install-nvim

main() {
    local part=$directory.part
    if [ -n "$(ls -A "$directory" 2>/dev/null)" ] && [ ! -e "$directory/$mark" ]; then
        echo "install-nvim.sh: $directory is not empty and was not made by this script; give another one" >&2
        return 1
    fi
    rm -rf "$part"
    download "$part" "$@"
    rm -rf "$directory"
    mkdir -p "$directory"
    touch "$directory/$mark"
    unpack "$part"
    link_programs
    rm -rf "$part"
    "$directory/bin/nvim" --version | head -n 1
}

# Debian's mirror as this machine's apt is configured for its own release, in whatever form.
mirror() {
    local codename site
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    site=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/$codename/.*|\1|p" | sed -n 1p)
    [ -n "$site" ] || { echo "install-nvim.sh: apt has no package source for $codename" >&2; return 1; }
    echo "$site"
}

download() {
    local part=$1 site
    shift
    command -v apt-get >/dev/null || { echo "install-nvim.sh: needs apt-get" >&2; return 1; }
    site=$(mirror)
    mkdir -p "$part/lists/partial" "$part/archives/partial"
    : >"$part/installed"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $release main" >"$part/source.list"
    local apt=(
        apt-get -qq
        -o "Dir::Etc::SourceList=$part/source.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$part/lists" -o "Dir::State::Status=$part/installed"
        -o "Dir::Cache=$part" -o "Dir::Cache::Archives=$part/archives"
        -o Acquire::Languages=none -o APT::Install-Recommends=false
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=true
    )
    "${apt[@]}" update
    "${apt[@]}" --yes --download-only install neovim patchelf "$@"
}

unpack() {
    local archive
    mkdir -p "$directory/bin"
    for archive in "$1"/archives/*.deb; do
        dpkg-deb --extract "$archive" "$directory"
    done
}

# Binds every program to the unpacked loader and libraries, so that its path and its children's environment stay as usual.
link_programs() {
    local libraries loader program
    libraries=$(dirname "$(find "$directory/usr/lib" -name libc.so.6 -print -quit)")
    loader=$(find "$directory" -name 'ld-linux*.so.*' -print -quit)
    cp "$directory/usr/bin/patchelf" "$directory/patchelf"
    for program in "$directory"/usr/bin/{nvim,b3sum,lua5.?}; do
        [ -f "$program" ] || continue
        "$loader" --library-path "$libraries" "$directory/patchelf" \
            --set-interpreter "$loader" --force-rpath --set-rpath "$libraries:$libraries/luajit" "$program"
    done
    rm "$directory/patchelf"
    cat >"$directory/bin/nvim" <<END
#!/bin/sh
export VIM=$directory/usr/share/nvim VIMRUNTIME=$directory/usr/share/nvim/runtime
exec $directory/usr/bin/nvim "\$@"
END
    chmod +x "$directory/bin/nvim"
}

main "$@"
