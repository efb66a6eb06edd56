#!/bin/bash
# Runs every fuzz target, or those whose name has the word given, for FUZZTIME
# (default 30s) each:
#
#   FUZZTIME=3s deploy/fuzz.sh [WORD]
#
# One instrumented binary a package. A finding is left in the package's
# testdata/fuzz and fails the run, after all the others had their turn.
set -u
cd "$(dirname "$(readlink -f "$0")")/.."
root=$PWD
bin=$(mktemp -d) && trap 'rm -rf "$bin"' EXIT
cache=$(go env GOCACHE)/fuzz
failed='' passed=0

# attempt PACKAGE TARGET runs in the package's directory, as go test does.
attempt() {
	"$bin/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "${FUZZTIME:-30s}" -test.fuzzcachedir "$cache/$1" -test.timeout 20m >"$bin/log" 2>&1
}
findings() { find testdata/fuzz/"$1" -type f 2>/dev/null | sort; }

for dir in $(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do
	targets=$(grep -hoE '^func Fuzz\w*' "$dir"/*_test.go | sed 's/^func //' | grep -- "${1-}" | sort)
	[ -n "$targets" ] || continue
	# -fuzz makes the compiler instrument the code.
	go test -c -fuzz=Fuzz -o "$bin/fuzz.test" "./$dir" || exit 1
	cd "$root/$dir" || exit 1
	for t in $targets; do
		before=$(findings "$t")
		# At the end of its time a busy machine can make the engine report its
		# own deadline as a failure (golang.org/issue/56238). That leaves no
		# finding, and is tried once more.
		if ! attempt "$dir" "$t" && { [ "$before" != "$(findings "$t")" ] || ! grep -q 'context deadline exceeded' "$bin/log" || ! attempt "$dir" "$t"; }; then
			echo "--- FAIL: $dir $t"
			cat "$bin/log"
			failed="$failed $dir:$t"
		else
			printf 'ok  %-20s %-32s %s\n' "$dir" "$t" "$(grep -oE 'execs: [0-9]+ .*' "$bin/log" | tail -1)"
			passed=$((passed + 1))
		fi
	done
	cd "$root" || exit 1
done
echo "$passed passed, $(wc -w <<<"$failed") failed"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
