#!/usr/bin/env bash
# Consul 1.8.7, Debian 11's package of that name, into a cache folder: apt downloads it and verifies the signature of the archive,
# nothing is installed.
set -euo pipefail

release=bullseye
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cache="${XDG_CACHE_HOME:-$HOME/.cache}/sidesplice/consul"

tell() {
  local version
  version=$("$cache/consul" version)
  echo "test:setup: ${version%%$'\n'*} is in $cache"
}
if [ -x "$cache/consul" ]; then
  tell
  exit
fi

# The archive that this machine uses already, in either form that apt's lists of sources have.
archive=$(awk '$1 == "URIs:" { print $2; exit }' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
if [ -z "$archive" ]; then
  archive=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true)
fi
[ -n "$archive" ] || { echo 'test:setup: no apt source found to derive the archive from' >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/archives/partial "$work"/parts
echo "deb [signed-by=$keyring] $archive $release main" >"$work/sources.list"
touch "$work/status"
# Lists and caches of its own: the machine's apt knows nothing of it afterwards.
apt=(apt-get -q -q
  -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts"
  -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status"
  -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
"${apt[@]}" update
(cd "$work" && "${apt[@]}" download consul)
dpkg-deb -x "$work"/consul_*.deb "$work/tree"
mkdir -p "$cache"
mv "$work/tree/usr/bin/consul" "$cache/consul"
tell
