#!/bin/sh
# run.sh BINARY: one server in all roles in a new directory (below DIR, on a real disk to mean something), filled with
# CRASHES (1000000) made-up processed crashes of 26 weeks; then what filling cost, how long opening takes, and the table of
# queries. KEEP=directory keeps the data there and uses what it holds already. PEER=URL asks another instance that holds the
# same crashes in the same run and prints it beside.
set -eu
binary=$1
base=${KEEP:-$(mktemp -d ${DIR:+-p "$DIR"})}
port=${PORT:-18997}
pid=
tool=$(mktemp)
trap 'if [ -n "$pid" ]; then kill "$pid" 2>/dev/null && wait "$pid" || true; fi; rm -f "$tool"; [ -n "${KEEP:-}" ] || rm -rf "$base"' EXIT
trap 'exit 1' INT TERM
go build -o "$tool" ./test/searchbench
start() {
	"$binary" serve --data-dir "$base/data" --listen "127.0.0.1:$port" --web.rate-limit 0 --log.level error >"$base/log" 2>&1 &
	pid=$!
	tries=0
	until curl -fs "http://127.0.0.1:$port/__lbheartbeat__" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] && kill -0 "$pid" 2>/dev/null || { cat "$base/log"; exit 1; }
		sleep 0.05
	done
}
stop() { kill "$pid"; wait "$pid" || true; pid=; }
seconds() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%.1f", ($12 + $13) / hz }' "/proc/$pid/stat"; }
mkdir -p "$base"
if [ ! -e "$base/filled" ]; then
	start
	"$binary" demo --data-dir "$base/data" --processed-only --crashes "${CRASHES:-1000000}" --days 182 2>/dev/null
	echo "filled in $(seconds) s of the server's CPU, reading JSON and merging included"
	sleep "${SETTLE:-20}" # merging and word indexes end
	echo "with what comes after: $(seconds) s"
	stop
	touch "$base/filled"
fi
echo "the index takes $(du -sm "$base/data/index" | cut -f1) MB"
before=$(date +%s%N)
start
echo "started in $(( ($(date +%s%N) - before) / 1000000 )) ms"
"$tool" --url "http://127.0.0.1:$port" --pid "$pid" ${PEER:+--peer "$PEER"} ${CLUSTER:+--cluster "$CLUSTER"} ${LAST:+--last "$LAST"}
