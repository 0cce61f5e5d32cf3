# SPDX-License-Identifier: MIT
# kill -9 at ten random moments, then the same command again: every finished run is kept, none is run twice, workers die
# with their parent, and rows and tables are those of an undisturbed grid, bit for bit. KILL_SEED repeats a failure.
. "$TOP/tests/lib.sh"

RANDOM=${KILL_SEED:=$((SECONDS + $$ % 30000))}
echo "# KILL_SEED=$KILL_SEED"
cat >grid.yaml <<'SPEC'
experiment: grid
question: does a grid survive being killed?
procedure: train
model: {family: decoder, n_layer: 2, d_model: 32, n_head: 2, d_ff: 64}
variant: {name: thin_keys}
task: {name: retrieval}
train: {lr: 3e-3, batch: 32, steps: 400, eval_every: 50, n_validation: 128, n_test: 256}
sweep: {product: {task.n_key: [2, 4, 8], variant.d_select_per_head: [1, 4]}}
seeds: [1, 2]
report:
  tables:
    - name: all
      title: all
      sql: >-
        select p.label, p.seed, (select value from metric m where m.run_id = r.id and m.name = 'accuracy' and
        m.split = 'test') as accuracy from plan p join run r on r.point_id = p.point_id and r.seed = p.seed
        where p.scale = :scale order by p.ordinal
SPEC
arguments=(run ./grid.yaml --no-plots --checkpoint-every 0 --jobs 2)
sql()
{
	sqlite3 -readonly -cmd '.timeout 5000' "$1" "$2"
}
finished='SELECT id, attempt, finished_at FROM run WHERE state = '"'done'"' ORDER BY id'

check "an undisturbed grid runs" "$KVLAB" "${arguments[@]}" --db whole/results.db

# A process that is more than an entry nobody has collected yet.
is_alive()
{
	[[ -r /proc/$1/stat ]] && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null
}
# A bare machine has no pgrep: the parent is the second field after the name's closing bracket.
children_of()
{
	sed -nE "s/^([0-9]+) \\(.*\\) . $1 .*/\\1/p" /proc/[0-9]*/stat 2>/dev/null | tr '\n' ' '
}
# Lines of done.old that stand in done.new, too. (grep -f of an empty file prints no count.)
kept()
{
	if [[ -s done.old ]]; then grep -cxFf done.old done.new; else echo 0; fi
}
fault()
{
	faults=$((faults + 1))
	echo "$1" >>faults
}

hits=0 faults=0
mkdir killed
: >done.old
: >done.new
for _ in 1 2 3 4 5 6 7 8 9 10; do
	"$KVLAB" "${arguments[@]}" --db killed/results.db >run.log 2>&1 &
	pid=$!
	# Wait for the workers, then a random moment of their work: short, so that ten of them do not finish the grid.
	children=
	for ((i = 0; i < 100; i++)); do
		children=$(children_of $pid)
		[[ -z $children && -d /proc/$pid ]] || break
		sleep 0.02
	done
	sleep "0.$((RANDOM % 350 + 100))"
	children=$(children_of $pid)
	[[ -z $children ]] || hits=$((hits + 1))
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	for child in $children; do
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			is_alive "$child" && sleep 0.1
		done
		! is_alive "$child" || fault "worker $child outlived its parent"
	done
	[[ ! -s killed/results.db ]] || sql killed/results.db "$finished" >done.new
	# What was finished at the kill before is finished now, by the same attempt, at the same time.
	(($(kept) == $(wc -l <done.old))) || fault "finished before: $(cat done.old); finished now: $(cat done.new)"
	cp done.new done.old
done
echo "# $hits of 10 kills met running workers; $(wc -l <done.old) of 12 runs were finished before the last try"
report $((hits < 3)) "kills met running workers"
cp faults output 2>/dev/null || : >output
report $faults "no finished run was lost or run again, no worker outlived its parent"
check "the grid goes on to its end" "$KVLAB" "${arguments[@]}" --db killed/results.db
sql killed/results.db "$finished" >done.new
report $(($(kept) != $(wc -l <done.old))) "finished runs stayed as they were to the end"
resumed=$(sql killed/results.db "SELECT count(*) FROM run WHERE attempt > 1 AND state = 'done'")
echo "# $resumed runs were finished by a later attempt"
check "every planned run is done once" test "$(sql killed/results.db "SELECT count(*), sum(state = 'done') FROM run")" = '12|12'

metrics="SELECT p.label, p.seed, m.name, m.split, m.step, m.value, hex(CAST(m.value AS BLOB)) FROM plan p JOIN run r
	ON r.point_id = p.point_id AND r.seed = p.seed JOIN metric m ON m.run_id = r.id WHERE m.split <> 'time'
	ORDER BY p.ordinal, m.name, m.split, m.step"
sql whole/results.db "$metrics" >whole.metrics
sql killed/results.db "$metrics" >killed.metrics
check "there are metrics to compare" test "$(wc -l <whole.metrics)" -gt 200
check "every metric has the same bits" cmp whole.metrics killed.metrics
check "the table is the same" cmp whole/tables/grid.small.all.csv killed/tables/grid.small.all.csv
check "no checkpoint is left" test -z "$(ls killed/checkpoints)"

# Again: nothing is run, the table is printed.
sql killed/results.db 'SELECT id, attempt, state, finished_at FROM run' >before
check_exit 0 "the same command once more runs nothing" "$KVLAB" "${arguments[@]}" --db killed/results.db
sql killed/results.db 'SELECT id, attempt, state, finished_at FROM run' >after
check "rows are untouched" cmp before after

# SIGTERM: workers write a checkpoint and give their runs back.
"$KVLAB" "${arguments[@]}" --db term/results.db >run.log 2>&1 &
pid=$!
sleep 0.7
kill -TERM $pid 2>/dev/null
wait $pid
code=$?
echo "# exit status $code after SIGTERM"
report $((code != 1 && code != 0)) "SIGTERM ends with exit status 1"
check "no run is left as running" test "$(sql term/results.db "SELECT count(*) FROM run WHERE state = 'running'")" = 0
check "the stopped grid goes on" "$KVLAB" "${arguments[@]}" --db term/results.db
sql term/results.db "$metrics" >term.metrics
check "its metrics have the same bits" cmp whole.metrics term.metrics

# A finished run can be made again, bit for bit, at any thread count.
id=$(sql killed/results.db 'SELECT max(id) FROM run')
check_exit 0 "reproduce finds the same bits" "$KVLAB" reproduce "$id" --db killed/results.db
check_exit 0 "reproduce finds the same bits with two threads" "$KVLAB" reproduce "$id" --db killed/results.db --threads 2
sqlite3 killed/results.db "UPDATE metric SET value = value + 1e-9 WHERE run_id = $id AND name = 'loss' AND split = 'test'"
check_exit 1 "reproduce sees one changed bit pattern" "$KVLAB" reproduce "$id" --db killed/results.db
check "and says which" grep -q 'differs: loss/test' stdout
check_exit 2 "reproduce of an unknown run" "$KVLAB" reproduce 999999 --db killed/results.db
