#!/bin/sh
# opensearch.sh COMMAND...: runs COMMAND with a real OpenSearch at $MAYDAY_TEST_OPENSEARCH, which ends with it. Its programs
# come by Maven and stay in CACHE; its data is in a new directory, or in DATA and stays. HEAP is the JVM's (1g), PORT its HTTP
# port. Without Maven or Java it says so and runs nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mayday/opensearch}
heap=${HEAP:-1g}
for tool in mvn java javac curl; do
	command -v $tool >/dev/null || { echo "opensearch: skipped, there is no $tool here"; exit 0; }
done
mkdir -p "$cache"
if ! cmp -s "$here/opensearch/pom.xml" "$cache/pom.xml" || ! cmp -s "$here/opensearch/Server.java" "$cache/Server.java"; then
	rm -rf "$cache/lib" "$cache/classes"
	mvn -q -B -f "$here/opensearch/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/lib"
	javac -cp "$cache/lib/*" -d "$cache/classes" "$here/opensearch/Server.java"
	cp "$here/opensearch/pom.xml" "$here/opensearch/Server.java" "$cache/"
fi
scratch=$(mktemp -d)
port=${PORT:-19200}
pid=
: >"$scratch/log"
trap 'if [ -n "$pid" ]; then kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; fi; rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
# The collector of one-processor machines lets bulk requests run into the memory breaker: G1, and early.
java -Xms"$heap" -Xmx"$heap" -XX:+UseG1GC -XX:G1ReservePercent=25 -XX:InitiatingHeapOccupancyPercent=30 \
	-XX:ActiveProcessorCount="${PROCESSORS:-2}" -cp "$cache/classes:$cache/lib/*" Server "${DATA:-$scratch/data}" "$port" >"$scratch/log" 2>&1 &
pid=$!
tries=0
until grep -q '^ready' "$scratch/log"; do
	tries=$((tries + 1))
	[ $tries -lt 360 ] && kill -0 "$pid" 2>/dev/null || { cat "$scratch/log"; exit 1; }
	sleep 0.5
done
MAYDAY_TEST_OPENSEARCH=http://127.0.0.1:$port "$@"
