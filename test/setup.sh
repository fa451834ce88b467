#!/usr/bin/env bash
# Makes sure that what the tests need is there: Go, make, a C compiler for the race detector and for signatures at full
# speed, git, and Node for a peer. What is missing is installed where apt and the right to use it are at hand, and named otherwise.
set -euo pipefail
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need make make
need cc gcc
need git git
need node nodejs # for the peer web3-shh
need npm npm
[ -e /usr/include/stdlib.h ] || [ "$(uname)" != Linux ] || missing+=(libc6-dev)
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	else
		echo "missing: ${missing[*]}. Install them, on Debian with: sudo apt-get install ${missing[*]}" >&2
		exit 1
	fi
fi
if ! command -v "${GO:-go}" >/dev/null; then
	echo "missing: Go 1.26 or newer. Get it from https://go.dev/dl" >&2
	exit 1
fi
