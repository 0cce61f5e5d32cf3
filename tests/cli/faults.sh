# SPDX-License-Identifier: MIT
# Bad input and faults of the world: one clear line with place and remedy, exit 2 for what the user gave, 1 for a fault,
# and nothing that was stored is lost.
. "$TOP/tests/lib.sh"

cat >grid.yaml <<'SPEC'
experiment: grid
question: what happens when things go wrong?
procedure: train
model: {family: decoder, n_layer: 1, d_model: 16, n_head: 4, d_ff: 32}
variant: {name: thin_keys, d_select: 4}
task: {name: retrieval, n_key: 4}
train: {steps: 30, batch: 8, eval_every: 10, n_validation: 32, n_test: 32}
sweep: {product: {model.d_ff: [16, 32, 48]}}
seeds: [1]
report:
  tables: [{name: all, title: all, sql: "select label, seed from plan where scale = :scale order by ordinal"}]
SPEC

# refused NAME PATTERN ARGUMENTS...: exit 2, one line on stderr that matches, nothing on stdout.
refused()
{
	local name=$1 pattern=$2
	shift 2
	check_exit 2 "$name: exit 2" "$KVLAB" "$@"
	cp stderr output
	check "$name: one line" test "$(wc -l <stderr)" = 1 -a ! -s stdout
	cp stderr seen
	check "$name: says what and where" grep -Eq "$pattern" seen
}

spec_with()
{
	sed "$1" grid.yaml >bad/grid.yaml
}
mkdir bad
spec_with 's/d_select: 4/d_selct: 4/'
refused "unknown key" "bad/grid.yaml:5:28: .*'d_selct'.*did you mean 'd_select'" run bad/grid.yaml --db none/results.db
spec_with 's/steps: 30/steps: many/'
refused "wrong type" "bad/grid.yaml:7:16: .*steps.*'many'" run bad/grid.yaml --db none/results.db
spec_with 's/d_select: 4/d_select: 6/'
refused "width not divisible by heads" 'bad/grid.yaml:5:[0-9]+: .*d_select 6 .*n_head 4' run bad/grid.yaml --db none/results.db
spec_with 's/d_ff: 32}/d_ff: 32, n_vocab: 8}/'
refused "more keys than vocabulary" 'bad/grid.yaml:[0-9]+:[0-9]+: .*21 tokens.*n_vocab is 8' run bad/grid.yaml --db none/results.db
refused "unknown scale" "'medium'.*smoke, small, gpu or paper" run ./grid.yaml --scale medium --db none/results.db
refused "no such experiment" "experiments: no specs here" run log2n_retreival --db none/results.db
refused "unknown option" "'--job'.*--jobs" run ./grid.yaml --job 2 --db none/results.db
check "nothing was written" test ! -e none

echo "this is no database, but it is long enough to be looked at as if it were one of them" >text.db
refused "not a database" 'text.db.*' run ./grid.yaml --db text.db
check "the file is untouched" grep -q "this is no database" text.db
sqlite3 foreign.db 'CREATE TABLE t(x); INSERT INTO t VALUES (1)'
refused "a foreign database" 'foreign.db' run ./grid.yaml --db foreign.db
check "its rows are untouched" test "$(sqlite3 foreign.db 'SELECT x FROM t')" = 1
check_exit 0 "a grid runs" "$KVLAB" run ./grid.yaml --db newer/results.db
sqlite3 newer/results.db 'PRAGMA user_version = 99' >/dev/null
refused "a newer database" 'newer/results.db.*newer' run ./grid.yaml --db newer/results.db
mkdir folder.db
head -c 20000 newer/results.db >broken.db
dd if=/dev/urandom of=broken.db bs=1k seek=4 count=12 conv=notrunc 2>/dev/null
sqlite3 newer/results.db 'PRAGMA user_version = 2' >/dev/null
check_exit 1 "a broken database is a fault: exit 1" "$KVLAB" show --db broken.db
cp stderr seen
check "and says what to do" grep -q 'broken.db: .*damaged.*restore' seen
refused "a folder for a file" 'folder.db' run ./grid.yaml --db folder.db

# A disk of 600 KiB, filled while a grid runs; and the same folder read-only.
mkdir disk
if mount -t tmpfs -o size=600k tmpfs disk 2>/dev/null; then
	trap 'umount disk 2>/dev/null; code=$?; echo "1..$n_check"; exit 0' EXIT
	check_exit 0 "a grid runs on a small disk" "$KVLAB" run ./grid.yaml --db disk/results.db
	sqlite3 disk/results.db 'SELECT id, state, finished_at FROM run' >before
	dd if=/dev/zero of=disk/full bs=1k 2>/dev/null
	sed 's/seeds: \[1\]/seeds: [1, 2, 3, 4, 5, 6, 7, 8]/' grid.yaml >more.yaml
	mkdir more && sed 's/seeds: \[1\]/seeds: [1, 2, 3, 4, 5, 6, 7, 8]/' grid.yaml >more/grid.yaml
	check_exit 1 "a full disk ends the run: exit 1" "$KVLAB" run more/grid.yaml --db disk/results.db
	cp stderr seen
	check "and says so" grep -Eq 'disk.*(full|space)' seen
	cp -r disk/results.db* more
	check_exit 1 "tables cannot be written to it: exit 1" "$KVLAB" table grid --write --db more/results.db --folder disk/tables
	check_exit 1 "nor can a dump: exit 1" "$KVLAB" dump grid disk/dump --db more/results.db
	check_exit 0 "a dump elsewhere" "$KVLAB" dump grid dump --db more/results.db
	check_exit 1 "an import into it: exit 1" "$KVLAB" import dump --db disk/new.db
	cp stderr seen
	check "and says so" grep -Eq 'disk/new.db.*(full|space)' seen
	rm -f disk/new.db*
	rm disk/full
	sqlite3 disk/results.db 'SELECT id, state, finished_at FROM run' >after
	check "finished runs are kept" test "$(grep -cxFf before after)" = 3
	mount -o remount,size=50m disk
	check_exit 0 "with room, the same command goes on" "$KVLAB" run more/grid.yaml --db disk/results.db
	check "and finishes all" test "$(sqlite3 disk/results.db "SELECT count(*) FROM run WHERE state = 'done'")" = 24
	mount -o remount,ro disk
	check_exit 2 "a read-only folder: exit 2" "$KVLAB" run more/grid.yaml --seeds 9 --db disk/results.db
	cp stderr seen
	check "and says so" grep -Eq 'disk/results.db.*(read-only|readonly|writ)' seen
	check_exit 0 "runs can still be shown from it" "$KVLAB" show 1 --db disk/results.db
	check_exit 0 "tables can still be printed from it" "$KVLAB" table grid --db disk/results.db
	check "and say what they hold" grep -q '24 runs planned: 24 done' stdout
	check_exit 2 "but not written to it" "$KVLAB" table grid --write --db disk/results.db --folder disk/tables
	check_exit 0 "plots can still be drawn from it" "$KVLAB" plot grid --db disk/results.db --folder plots
	check_exit 2 "an import into it: exit 2" "$KVLAB" import dump --db disk/results.db
	umount disk
else
	skip "full disk and read-only folder" "mounting a small disk needs root"
fi
