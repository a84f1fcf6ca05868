#!/usr/bin/env bash
# Makes sure the named Debian packages are installed; installs the missing ones when
# run as root with apt at hand. Exit 0: all are there. Exit 1: it says which are not.
set -uo pipefail

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "$@"; do
  is_installed "$package" || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed: ${missing[*]}. As root on Debian: apt-get install ${missing[*]}" >&2
  exit 1
fi

echo "Installing ${missing[*]} ..." >&2
log=$(mktemp) && trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}"; } \
  </dev/null >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  echo "apt-get could not install: ${missing[*]}" >&2
  exit 1
fi
