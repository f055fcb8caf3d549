#!/usr/bin/env bash
# Builds the fuzzers of the addon and runs each from its kept corpus: scripts/fuzz.sh [SECONDS each] [NAME …]. What one finds is
# left in .native-build/found/, and `.native-build/fuzz/tests/fuzz-NAME FILE` shows it again. SIDESPLICE_SEED sets the seed.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
shift || true
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(relay handshake certificate ticket)
build=.native-build/fuzz

[ -f "$build/build.ninja" ] || CXX=clang++-14 cmake -G Ninja -S native -B "$build" -DSANITIZE=address -DFUZZERS=ON
cmake --build "$build" -j 2
mkdir -p .native-build/found
for name in "${names[@]}"; do
  # What is new goes to a folder of its own: the kept corpus changes by hand alone.
  grown=$build/grown/$name
  mkdir -p "$grown"
  "$build/tests/fuzz-$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    -seed="${SIDESPLICE_SEED:-1}" -artifact_prefix=".native-build/found/$name-" "$grown" "test/native/fuzz/corpus/$name"
done
