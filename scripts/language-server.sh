#!/usr/bin/env bash
# Installs yaml-language-server, which most editors use, in the version that
# scripts/editor/package-lock.json names, into bin/editor. Prints the folder of its
# program, for the PATH of the editor tests.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in node npm; do
	command -v "$program" >/dev/null && continue
	[ "${ERBRIDGE_REQUIRE_SERVICES:-}" = 1 ] && { echo "language server: $program is not installed" >&2; exit 1; }
	echo "language server: left out, $program is not installed" >&2
	exit 0
done
dir=$PWD/bin/editor
if ! cmp -s scripts/editor/package-lock.json "$dir/installed.json"; then
	mkdir -p "$dir"
	cp scripts/editor/package.json scripts/editor/package-lock.json "$dir"
	(cd "$dir" && npm ci --silent --ignore-scripts --no-audit --no-fund) >&2
	cp "$dir/package-lock.json" "$dir/installed.json"
fi
echo "$dir/node_modules/.bin"
