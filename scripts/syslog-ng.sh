#!/usr/bin/env bash
# Unpacks syslog-ng and lognormalizer, which judge what the syslog sink sends, into
# bin/judges/debian, and prints the folder of their programs, for the PATH of the tests.
# Debian's syslog-ng cannot be installed beside rsyslog, which is a judge, too; that is
# why its packages are unpacked and not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/bin/judges/debian
packages=(syslog-ng-core libivykis0 libnet1 libjson-c5 libpcre3 libwrap0 libestr0 libfastjson4 liblognorm5 liblognorm-utils)
if [ ! -e "$dir/complete" ]; then
	if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
		[ "${ERBRIDGE_REQUIRE_SERVICES:-}" = 1 ] && { echo "syslog-ng: this is no Debian" >&2; exit 1; }
		echo "syslog-ng: left out, this is no Debian" >&2
		exit 0
	fi
	rm -rf "$dir"
	mkdir -p "$dir/packages" "$dir/root" "$dir/bin"
	if ! (cd "$dir/packages" && apt-get download -q "${packages[@]}" >apt.log 2>&1); then
		cat "$dir/packages/apt.log" >&2
		[ "${ERBRIDGE_REQUIRE_SERVICES:-}" = 1 ] && exit 1
		echo "syslog-ng: left out, its packages cannot be downloaded" >&2
		exit 0
	fi
	for package in "$dir"/packages/*.deb; do
		dpkg-deb -x "$package" "$dir/root"
	done
	libraries=$dir/root/usr/lib/syslog-ng
	for folder in "$dir"/root/lib/*-linux-* "$dir"/root/usr/lib/*-linux-*; do
		[ -d "$folder" ] && libraries=$libraries:$folder
	done
	modules=$(echo "$dir"/root/usr/lib/syslog-ng/[0-9]*)
	cat >"$dir/bin/syslog-ng" <<-END
		#!/bin/sh
		LD_LIBRARY_PATH='$libraries' exec '$dir/root/usr/sbin/syslog-ng' --module-path='$modules' "\$@"
	END
	cat >"$dir/bin/lognormalizer" <<-END
		#!/bin/sh
		LD_LIBRARY_PATH='$libraries' exec '$dir/root/usr/bin/lognormalizer' "\$@"
	END
	chmod +x "$dir"/bin/*
	"$dir/bin/syslog-ng" --version >"$dir/complete.new"
	mv "$dir/complete.new" "$dir/complete"
fi
echo "$dir/bin"
