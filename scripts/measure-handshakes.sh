#!/usr/bin/env bash
# CPU of a full mutual handshake, each side, on the OpenSSL of the Node given (the path's first), HANDSHAKES of each kind. Headers are
# those of the path's last Node, the system's:
#   scripts/measure-handshakes.sh [NODE]
set -euo pipefail
cd "$(dirname "$0")/.."
node=$(command -v "${1:-node}")
out=.native-build/measure
mkdir -p "$out"
headers=$(dirname "$(dirname "$(readlink -f "$(type -ap node | tail -1)")")")/include/node
g++ -std=c++20 -O3 -g1 -fPIC -shared -fno-exceptions -fno-rtti -fvisibility=hidden -DOPENSSL_API_COMPAT=30000 -DNAPI_VERSION=8 \
  -I"$headers" -Inative -Itest/native native/tls/*.cc native/sys/*.cc test/native/support/{certificates,sockets}.cc \
  test/native/measure/handshakes.cc -o "$out/handshakes.node" -Wl,-z,now
"$node" -e 'process.dlopen({ exports: {} }, process.argv[1])' "$PWD/$out/handshakes.node"
