#!/usr/bin/env bash
# Fails when something that is derived differs from what it is derived from.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
say() { echo "verify: $*" >&2; bad=1; }

unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || say "gofmt would change: $unformatted"

go mod tidy -diff >/dev/null || say "go.mod is not tidy: run go mod tidy"
(cd tools && go mod verify >/dev/null) || say "tools/go.mod: a module is not what its sum says"
go vet ./... || say "go vet found something"

out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT
go run ./connector/catalogue/gen -out "$out"
go run ./internal/gendocs/cmd -out "$out"
while IFS= read -r file; do
	cmp -s "$out/$file" "$file" || say "$file is not up to date: run make generate"
done < <(cd "$out" && find . -type f | sed 's|^\./||' | sort)
go test ./cmd/erbridge -run '^TestReference$' -count=1 >/dev/null || say "docs/reference/cli.md is not up to date: run make generate"

[ "$bad" -eq 0 ] && echo "verify: everything is up to date"
exit "$bad"
