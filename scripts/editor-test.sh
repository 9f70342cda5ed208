#!/usr/bin/env bash
# Drives yaml-language-server, which most editors use, over a playbook whose first
# line names our schema. The server comes from npm into a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in node npm go; do
	command -v "$program" >/dev/null && continue
	[ -n "${ERBRIDGE_REQUIRE_SERVICES:-}" ] && { echo "editor: $program is not installed" >&2; exit 1; }
	echo "editor: left out, $program is not installed"
	exit 0
done
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$dir/npm" yaml-language-server@1.18.0
go run ./cmd/erbridge playbook schema --write "$dir/playbooks" >/dev/null
node scripts/editor-test.mjs "$dir/npm/node_modules/.bin/yaml-language-server" "$dir/playbooks"
