#!/usr/bin/env bash
# Runs the reference checks that lie beside the checkout and fails when a figure is below test/floor.txt.
# floor.txt: area, tab, a text that one of the area's lines must contain. Raise it with every gain.
set -uo pipefail
binary=$1
here=$(dirname "$0")
areas=$(grep -v '^#' "$here/floor.txt" | cut -f1 | sort -u | tr '\n' ' ')
board=$("$here/../../shared/check/scoreboard.sh" "$binary" $areas)
echo "$board"
failed=0
while IFS=$'\t' read -r area want; do
	case $area in '' | '#'*) continue ;; esac
	if ! grep -F -- "$want" <<<"$(grep "^$area " <<<"$board")" >/dev/null; then
		echo "below the floor: $area must say: $want"
		failed=1
	fi
done <"$here/floor.txt"
exit $failed
