#!/bin/sh
# Installs the Debian packages that a purpose needs, only those that are missing: system_packages.sh venv|test|bench
set -eu
missing=""
need() { # a probe command, then the package that provides it
    if ! sh -c "$1" >/dev/null 2>&1; then missing="$missing $2"; fi
}
case "${1:-}" in
venv)
    need "python3 -c 'import ensurepip, venv'" python3-venv
    ;;
test)
    need "command -v initdb || ls /usr/lib/postgresql/*/bin/initdb" postgresql
    need "command -v chromium || command -v google-chrome" chromium
    need "fc-list | grep -qi 'noto.*cjk'" "fonts-noto-cjk fontconfig"
    need "command -v cc" gcc
    need "command -v cc && echo '#include <stdio.h>' | cc -E -" libc6-dev
    ;;
bench)
    need "command -v nginx || test -x /usr/sbin/nginx" nginx-light
    need "command -v cc" gcc
    need "command -v cc && echo '#include <stdio.h>' | cc -E -" libc6-dev
    ;;
*)
    echo "usage: system_packages.sh venv|test|bench" >&2
    exit 2
    ;;
esac
[ -n "$missing" ] || exit 0
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then
        sudo="sudo -n"
    else
        echo "These system packages are missing:$missing" >&2
        echo "Ask an administrator to run: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
fi
echo "installing system packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -qq -y --no-install-recommends $missing >/dev/null
