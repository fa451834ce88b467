#!/usr/bin/env bash
# Runs every fuzz target of the module for a time each: test/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
for_time=${1:-10s}
passed=0 failed=0

# Go's fuzzer now and then takes the end of its own time for a failure. A real one leaves the input that caused it, or says
# more than that.
only_out_of_time() {
	grep -q '^ *context deadline exceeded$' <<<"$1" && ! grep -qE 'Failing input|panic:|failure while testing' <<<"$1"
}

while IFS=: read -r file target; do
	dir=./$(dirname "$file")
	if out=$("$go" test -timeout 30m -run '^$' -fuzz "^$target\$" -fuzztime "$for_time" "$dir" 2>&1) || only_out_of_time "$out"; then
		passed=$((passed + 1))
		printf 'fuzz %s %s: %s\n' "$dir" "$target" "$(grep -oE 'execs: [0-9]+' <<<"$out" | tail -n 1)"
	else
		failed=$((failed + 1))
		printf 'fuzz %s %s FAILED\n%s\n' "$dir" "$target" "$out"
	fi
done < <(git ls-files -co --exclude-standard '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/func //')
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
