# SPDX-License-Identifier: MIT
# Every experiment resolves at each scale, and runs to its table and plot at `smoke`, in an empty folder.
. "$TOP/tests/lib.sh"
shopt -s nullglob

for spec in "$TOP"/experiments/*.yaml; do
	name=$(basename "$spec" .yaml)
	for scale in small paper; do
		check_exit 0 "$name resolves at $scale" "$KVLAB" plan "$spec" --scale $scale
	done
	check_exit 0 "$name runs at smoke" "$KVLAB" run "$spec" --scale smoke
	check "$name prints a table" test -s stdout
done
