#!/usr/bin/env bash
# Runs every test, and says at the end which were left out because a program is
# not installed. Output of passing packages is one line each.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp) && trap 'rm -f "$log"' EXIT
go test -v "$@" ./... >"$log" 2>&1
code=$?
if [ "$code" -ne 0 ]; then
	# The lines that explain: everything but the tests that passed.
	grep -vE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP))|\[no test files\]|^PASS$' "$log"
else
	grep -E '^(ok|FAIL|panic)' "$log"
fi

ran=$(grep -cE '^ *--- (PASS|FAIL)' "$log")
failed=$(grep -cE '^ *--- FAIL' "$log")
left=$(grep -cE '^ *--- SKIP' "$log")
echo
if [ "$left" -gt 0 ]; then
	echo "left out:"
	# With -v the reason is written before the result of the test.
	awk '/^ +[^ ]+\.go:[0-9]+: / {reason = $0; sub(/^ +[^ ]+\.go:[0-9]+: /, "", reason)}
	     /^ *--- SKIP/ {print "  " $3 ": " reason}' "$log" | sort -u
fi
echo "tests: $ran ran, $failed failed, $left left out"
exit "$code"
