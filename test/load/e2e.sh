#!/bin/sh
# e2e.sh BINARY: one server in all roles, fsync on, in a new directory (below DIR, on a real disk to mean something), with
# the symbols of the demo month. Sends RATE (38.3) crashes a second, that is 2,300 a minute, for BENCH_SECONDS (600) with
# dumps of SIZE (150000) bytes in the median, and prints crashes a second, times to answer and until they can be found,
# crashes waiting, and the server's memory. Exit code 1 when the rate is not held, more than BACKLOG (30) seconds' worth
# of crashes wait at the end, or one that was answered is missing.
set -eu
binary=$1
seconds=${BENCH_SECONDS:-600}
base=$(mktemp -d ${DIR:+-p "$DIR"})
port=${PORT:-18998}
pid=
trap 'if [ -n "$pid" ]; then kill "$pid" 2>/dev/null && wait "$pid" || true; fi; rm -rf "$base"' EXIT
trap 'exit 1' INT TERM
go build -o "$base/load" ./test/load
MAYDAY_STORAGE_FSYNC=true "$binary" serve --data-dir "$base/data" --listen "127.0.0.1:$port" --web.rate-limit 0 --log.level error >"$base/log" 2>&1 &
pid=$!
tries=0
until curl -fs "http://127.0.0.1:$port/__lbheartbeat__" >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 200 ] && kill -0 "$pid" 2>/dev/null || { cat "$base/log"; exit 1; }
	sleep 0.1
done
"$binary" demo --data-dir "$base/data" --crashes 50 2>/dev/null
"$base/load" --month --url "http://127.0.0.1:$port" --rate "${RATE:-38.3}" --size "${SIZE:-150000}" --connections "${CONNECTIONS:-8}" \
	--duration "${seconds}s" --backlog "${BACKLOG:-30}" --pid "$pid" || { tail -n 20 "$base/log"; exit 1; }
