#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME. What a target found stands
# in its output, which is shown when it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
FUZZTIME=${FUZZTIME:-10s}

# Time spent on making an interesting input smaller is not spent on finding one, so
# that is cut short.
minimize=20x

# fuzz runs one target, named as file:function. At the end of the time, go test may
# fail with "context deadline exceeded" and no failing input: a race in Go's own
# fuzzing coordinator (golang/go#75804, mended in Go 1.27). That is no finding, and
# worth a second go.
fuzz() {
	local folder target log out try
	folder=$(dirname "${1%:*}") target=${1##*:} log=$(mktemp)
	for try in 1 2 3; do
		out="== $target in $folder"
		[ "$try" -eq 1 ] || out+=" (the time ran out in the middle of an input, try $try)"
		if go test "./$folder" -run '^$' -fuzz "^$target\$" -parallel 1 -fuzztime "$FUZZTIME" -fuzzminimizetime "$minimize" >"$log" 2>&1; then
			printf '%s\n%s\n' "$out" "$(tail -n 1 "$log")"
			rm "$log"
			return 0
		fi
		grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log" || break
	done
	printf '%s\n%s\n' "$out" "$(cat "$log")"
	rm "$log"
	return 1
}
export -f fuzz
export FUZZTIME minimize

# One worker for each target, and as many targets side by side as there are processors.
targets=$(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/')
xargs -P "$(nproc)" -I{} bash -c 'fuzz "$1"' _ {} <<<"$targets"
echo "fuzz: $(wc -l <<<"$targets") targets, $FUZZTIME each, nothing found"
