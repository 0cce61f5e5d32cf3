# SPDX-License-Identifier: MIT
# Every experiment resolves at each scale, and runs at `smoke` to its tables and pictures, which are then made again from
# the database alone.
. "$TOP/tests/lib.sh"
shopt -s nullglob

mkdir plots
cp -r "$TOP/experiments" .
cp "$TOP"/plots/*.gp plots
specs=(experiments/*.yaml)

# picture_of KIND FILE: starts as such a file does and has more than a frame in it.
picture_of()
{
	case $1 in
	svg) grep -q '<svg' "$2" && grep -q '</svg>' "$2" ;;
	png) head -c 4 "$2" | grep -q PNG ;;
	esac && test "$(wc -c <"$2")" -gt 3000
}

# pictures_of SPEC FOLDER: both kinds of each of its plots.
pictures_of()
{
	local name plot kind bad=0
	name=$(basename "$1" .yaml)
	for plot in $(sed -n '/^  plots:/,/^[a-z]/s/^    - name: //p' "$1"); do
		for kind in svg png; do
			picture_of $kind "$2/$name.smoke.$plot.$kind" || {
				echo "$2/$name.smoke.$plot.$kind is no picture"
				bad=1
			}
		done
	done
	return $bad
}

# tables_of SPEC: all files of each of its tables; run ids beside each.
tables_of()
{
	local name table ending bad=0
	name=$(basename "$1" .yaml)
	for table in $(sed -n '/^  tables:/,/^  plots:/s/^    - name: //p' "$1"); do
		for ending in md csv tex runs.csv; do
			test -s "results/tables/$name.smoke.$table.$ending" || {
				echo "results/tables/$name.smoke.$table.$ending is missing or empty"
				bad=1
			}
		done
	done
	return $bad
}

# A scale may need a corpus or a tokenizer that is not here: then the refusal says so, and nothing else is wrong.
resolves()
{
	local missing="is not on this machine ("
	if ! "$KVLAB" plan "$1" --scale $2 >stdout 2>stderr && grep -q "$missing" stderr; then
		skip "what it reads is not here" "$1 resolves at $2"
	else
		check_exit 0 "$1 resolves at $2" "$KVLAB" plan "$1" --scale $2
	fi
}

for spec in "${specs[@]}"; do
	name=$(basename "$spec" .yaml)
	for scale in small paper; do
		resolves "$name" $scale
	done
	check_exit 0 "$name runs at smoke" "$KVLAB" run "$name" --scale smoke
	check "$name prints a table" grep -q "^$name at scale smoke, seeds" stdout
	check "$name says once which runs these are" test "$(grep -c "^$name at scale smoke, seeds" stdout)" = 1
	cp stdout "$name.first"
	check "$name writes every table" tables_of "$spec"
	check "$name draws every plot" pictures_of "$spec" plots
done

mkdir kept
mv experiments kept/specs
mv results/tables kept/tables
for spec in kept/specs/*.yaml; do
	name=$(basename "$spec" .yaml)
	for format in term md csv tex; do
		check_exit 0 "$name prints $format without its spec" "$KVLAB" table "$name" --scale smoke --format $format
		check "and something" test -s stdout
		[[ $format != term ]] || check "the table is the one that the run printed" cmp stdout "$name.first"
	done
done
check_exit 0 "all plots are drawn from the database alone" "$KVLAB" plot --all --folder again
for spec in kept/specs/*.yaml; do
	check "$(basename "$spec" .yaml) has its pictures again" pictures_of "$spec" again
done
check_exit 0 "all tables are written from the database alone" "$KVLAB" table --all
check "and are the same, byte for byte" diff -r kept/tables results/tables
