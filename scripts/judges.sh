#!/usr/bin/env bash
# Installs programs of others that judge what the sinks send, in the versions that
# scripts/judges/package-lock.json and the go.mod of each folder there name, into
# bin/judges, where the tests look for them. Prints that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/bin/judges
mkdir -p "$dir"
"${GO:-go}" build -C scripts/judges/elastic -o "$dir/elastic" . >&2
"${GO:-go}" build -C scripts/judges/otlpreceiver -o "$dir/otlpreceiver" . >&2
for program in node npm; do
	command -v "$program" >/dev/null && continue
	[ "${ERBRIDGE_REQUIRE_SERVICES:-}" = 1 ] && { echo "judges: $program is not installed" >&2; exit 1; }
	echo "judges: left out, $program is not installed" >&2
	exit 0
done
if ! cmp -s scripts/judges/package-lock.json "$dir/installed.json"; then
	cp scripts/judges/package.json scripts/judges/package-lock.json "$dir"
	(cd "$dir" && npm ci --silent --ignore-scripts --no-audit --no-fund) >&2
	cp "$dir/package-lock.json" "$dir/installed.json"
fi
echo "$dir"
