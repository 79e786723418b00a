#!/bin/sh
# Runs every fuzz target of the tree for FUZZTIME (10s) each, one after the other; those of minidumps and symbol
# files, which come from crashed programs and strangers, for FUZZDUMPS (FUZZTIME).
#
# A run by time can end with "context deadline exceeded" and no failing input when its last call is still
# under way at the end (golang/go#75804). Only then the target runs again by count, which has no deadline
# and must pass.
#
# An input that reaches new code is made smaller in ten tries: by default that may take a minute each, in which
# nothing new is tried.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fuzz() { # package, target, fuzztime
	go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$3" -fuzzminimizetime 10x </dev/null >"$log" 2>&1 && cat "$log" && return
	cat "$log"
	return 1
}
only_deadline() {
	grep -q '^    context deadline exceeded$' "$log" && ! grep -Eq 'Failing input|panic|terminated unexpectedly' "$log"
}

grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
	dir=$(dirname "$file")
	time=${FUZZTIME:-10s}
	case $dir in ./minidump*|./symbols/sym) time=${FUZZDUMPS:-$time} ;; esac
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
		echo "$dir $target"
		fuzz "$dir" "$target" "$time" || { only_deadline && fuzz "$dir" "$target" 200x; }
	done
done
