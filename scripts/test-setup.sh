#!/usr/bin/env bash
# Brings the programs that the suites need beside npm's packages. Installs only what is missing, with apt, and starts nothing:
# the suites run servers of their own, on loopback ports of their own. Run it as often as you like.
set -euo pipefail

say() { echo "test:setup: $*"; }
fail() {
  echo "test:setup: $*" >&2
  exit 1
}

# apt package: what must be there afterwards. PostgreSQL's server programs stand in a folder by version, off the PATH; a header
# is a path below /usr/include, and clang's runtime, of which the fuzzers need libFuzzer, is a library of its own version. HAProxy and
# nginx are the bench's peers; Chromium looks at its page.
needed=(
  'redis-server: redis-server'
  'redis-tools: redis-benchmark redis-cli'
  'postgresql: postgres:initdb'
  'postgresql-contrib: pgbench psql'
  'openssl: openssl'
  'curl: curl'
  'g++: g++'
  'cmake: cmake'
  'ninja-build: ninja'
  'libssl-dev: header:openssl/ssl.h'
  'doctest-dev: header:doctest/doctest.h'
  'clang-14: clang++-14'
  'libclang-rt-14-dev: runtime:libclang_rt.fuzzer-*.a'
  'user-mode-linux: linux.uml'
  'busybox-static: busybox'
  'haproxy: haproxy'
  'nginx: nginx'
  'libnginx-mod-stream: nginx-module:ngx_stream_module.so'
  'chromium: chromium'
)

present() {
  case $1 in
  postgres:*) compgen -G "/usr/lib/postgresql/*/bin/${1#postgres:}" >/dev/null ;;
  header:*) [ -e "/usr/include/${1#header:}" ] ;;
  nginx-module:*) [ -e "/usr/lib/nginx/modules/${1#nginx-module:}" ] ;;
  runtime:*) compgen -G "/usr/lib/llvm-14/lib/clang/*/lib/linux/${1#runtime:}" >/dev/null ;;
  *) command -v "$1" >/dev/null ;;
  esac
}

# Sets `missing` to the packages of which something is not there.
look() {
  missing=()
  local entry program
  for entry in "${needed[@]}"; do
    for program in ${entry#*: }; do
      present "$program" && continue
      missing+=("${entry%%:*}")
      break
    done
  done
}

[ "$(id -u)" -eq 0 ] || fail 'must run as root: it installs packages with apt (sudo npm run test:setup)'
look
# Consul comes last and by itself: it goes to a cache folder.
fetch_consul() { bash "$(dirname "$0")/fetch-consul.sh" || fail 'Consul could not be fetched, see above'; }
if [ ${#missing[@]} -eq 0 ]; then
  fetch_consul
  say 'everything is there, nothing to do'
  exit 0
fi
command -v apt-get >/dev/null || fail "needs apt-get (Debian, Ubuntu) to install ${missing[*]}; install these by hand"

# Debian's packages start their services when they are installed, unless policy-rc.d forbids it (invoke-rc.d(8),
# deb-systemd-invoke(1p)). Ours stands there while apt runs, then whatever was there before does again.
policy=/usr/sbin/policy-rc.d
saved=$policy.before-sidesplice
put_back() {
  rm -f "$policy"
  if [ -e "$saved" ] || [ -L "$saved" ]; then mv -f "$saved" "$policy"; fi
}
# A run that was killed could not put it back; what stands there then is ours.
if [ -e "$saved" ] || [ -L "$saved" ]; then put_back; fi
trap put_back EXIT
trap 'exit 1' HUP INT TERM
if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$saved"; fi
printf '#!/bin/sh\n# sidesplice test:setup, gone when it ends\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
# --no-upgrade: a service that runs here already would be stopped for its upgrade, and not be started again.
apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
say "installing ${missing[*]} with apt; no service is started"
"${apt[@]}" update || fail 'apt-get update failed, see above'
"${apt[@]}" install --no-install-recommends --no-upgrade "${missing[@]}" || fail 'apt-get install failed, see above'

look
[ ${#missing[@]} -eq 0 ] || fail "installed, but something is still missing of ${missing[*]}"
fetch_consul
say 'done; npm test now runs every suite'
