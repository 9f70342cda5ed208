#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME, one after the other. What a
# target found stands in its output, which is shown when it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
FUZZTIME=${FUZZTIME:-10s}
log=$(mktemp) && trap 'rm -f "$log"' EXIT

# Time spent on making an interesting input smaller is not spent on finding one, so
# that is cut short.
minimize=20x

# fuzz runs one target. At the end of the time, go test may fail with "context
# deadline exceeded" and no failing input: a race in Go's own fuzzing coordinator
# (golang/go#75804, mended in Go 1.27). That is no finding, and worth a second go.
fuzz() {
	for try in 1 2 3; do
		go test "./$(dirname "$1")" -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime "$minimize" >"$log" 2>&1 && return 0
		grep -q 'Failing input written' "$log" && return 1
		grep -q 'context deadline exceeded' "$log" || return 1
		echo "   the time ran out in the middle of an input, once more (try $try)"
	done
	return 1
}

targets=0
while IFS=: read -r file target; do
	echo "== $target in $(dirname "$file")"
	fuzz "$file" "$target" || { cat "$log"; exit 1; }
	tail -n 1 "$log"
	targets=$((targets + 1))
done < <(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/')
echo "fuzz: $targets targets, $FUZZTIME each, nothing found"
