#!/usr/bin/env bash
# Measures what the program does in a second, beside what this machine's disk and
# processor do in a second. Benchmarks of all packages, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "machine: $(uname -sm), $(nproc) processors, $(go version | cut -d' ' -f3)"
mapfile -t packages < <(git ls-files '*_test.go' | xargs grep -lE '^func Benchmark' | xargs -n1 dirname | sort -u | sed 's|^|./|')
go test -run '^$' -bench . -benchmem -benchtime "${BENCHTIME:-2s}" -p 1 "${packages[@]}" | grep -vE '^(goos|goarch|PASS|cpu):?'
