#!/bin/sh
# collector.sh BINARY: starts a collector for each case, sends crashes for SECONDS (10) over eight connections (and 64 of
# 5 MB) and prints requests a second, times, the server's CPU time per request and its largest memory. DIR says where the
# data goes; a file system on which nothing else is being deleted gives the steadiest figures.
set -eu
binary=$1
seconds=${SECONDS_EACH:-10}
base=${DIR:-$(mktemp -d)}
port=${PORT:-18999}
go build -o "$base/load" ./test/load
one() { # fsync size gzip connections
	data=$base/data
	MAYDAY_STORAGE_FSYNC=$1 "$binary" serve --role collector --data-dir "$data" --listen "127.0.0.1:$port" --log.level error >"$base/log" 2>&1 &
	pid=$!
	tries=0
	until curl -fs "http://127.0.0.1:$port/__lbheartbeat__" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { cat "$base/log"; exit 1; }
		sleep 0.1
	done
	printf 'fsync %s: ' "$1"
	"$base/load" --url "http://127.0.0.1:$port/submit" --size "$2" --gzip="$3" --connections "$4" --duration "${seconds}s" --pid $pid
	kill $pid
	wait $pid || true
	rm -rf "$data"
	sync # the next case begins with an idle disk
}
for fsync in false true; do
	one $fsync 20000 false 8
	one $fsync 600000 false 8
	one $fsync 600000 true 8
	one $fsync 5000000 false 8
	one $fsync 5000000 false 64
done
