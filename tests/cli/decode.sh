# SPDX-License-Identifier: MIT
# A grid of timings: points that cannot run fail alone with their reason, the grid goes on and ends with exit 1; plan says
# so before; what was measured stays when a signal comes, and the rest goes on; runs are compared by their samples.
. "$TOP/tests/lib.sh"

cat >grid.yaml <<'SPEC'
experiment: grid
question: what happens to points that cannot run?
procedure: decode
model: {family: llama, n_layer: 1, d_model: 64, n_head: 4, n_kv_head: 2, d_ff: 64, n_vocab: 100, n_ctx: 256}
variant: {name: keyless}
task: {name: noise, n_vocab: 2, length: 1}
decode: {prompt: 32, prompt_rounds: 1, warm_s: 0, most_s: 0}
cache: {k_scales: channel, v_dtype: f16}
sweep:
  product:
    cache.k_dtype: [q8, f16]
    decode.context: [64, 256, 0]
    decode.batch: [2, 0]
seeds: [1]
report:
  tables: [{name: all, title: all, sql: "select label from plan where scale = :scale order by ordinal"}]
SPEC
sql()
{
	sqlite3 -readonly "$1" "$2"
}
failed()
{
	check "$1" test "$(sql results.db "SELECT count(*) FROM run WHERE state = 'failed' AND message LIKE '$3'")" = "$2"
}

check_exit 0 "plan says which points would fail" "$KVLAB" plan ./grid.yaml
cp stdout seen
check "and how many" grep -q '12 points x 1 seeds = 12 runs, 11 points would fail on this machine now' seen
check "and why" grep -q 'would fail: context 256 and a new token are beyond the model.s 256 positions (raise model.n_ctx)' seen
check_exit 1 "the grid goes on to its end: exit 1" "$KVLAB" run ./grid.yaml --db results.db --no-plots
cp stdout seen
check "with a summary" grep -q '12 runs planned: 1 done, 11 failed' seen
check "that names points and reasons" grep -q 'failed: .*batch=0.*seed 1: batch 0: there is no sequence' seen
failed "a batch of 0" 6 'batch 0: %'
failed "no context" 2 'context 0: %'
failed "a context beyond the model" 2 'context 256 and a new token %'
failed "a type that a stream does not take" 1 'k_scales: channel needs k_dtype q8 or q4, not f16%'
check "the one that can run has its samples" test \
	"$(sql results.db "SELECT count(DISTINCT name), min(n) >= 1, sum(n) >= 20 FROM (SELECT name, count(*) AS n FROM sample GROUP BY name)")" = '5|1|1'
check "its gate and its gain" test \
	"$(sql results.db "SELECT count(*) FROM metric WHERE name IN ('gate_error', 'gate_error_reference', 'gain', 'verdict', 'is_busy', 'clock_mhz')")" = 6
check_exit 2 "nothing may run beside a timing" "$KVLAB" run ./grid.yaml --db results.db --jobs 2
check "and it says so" grep -q "jobs 2: procedure 'decode' times what it runs" stderr

# More memory than there is: refused by plan with the figure, and failed alone when run.
mkdir big
sed 's/n_ctx: 256/n_ctx: 16777216/; s/context: \[64, 256, 0\]/context: [64, 16777215]/; s/batch: \[2, 0\]/batch: [1000]/
	s/k_dtype: \[q8, f16\]/k_dtype: [q8]/' grid.yaml >big/grid.yaml
check_exit 0 "plan of a point beyond memory" "$KVLAB" plan big/grid.yaml
check "gives the figure" grep -Eq 'would fail: needs [0-9]{4,}\.[0-9] GiB, of [0-9.]+ GiB free' stdout
check_exit 1 "the others run" "$KVLAB" run big/grid.yaml --db big.db --no-plots
check "and one has failed" test "$(sql big.db "SELECT group_concat(state, ' ') FROM run")" = 'done failed'

# Memory that ends in the middle: a limit that the check before cannot see.
if (ulimit -v 700000 && "$KVLAB" list >/dev/null 2>&1) && [[ $BUILD != *san* ]]; then
	mkdir limit
	sed 's/n_ctx: 256/n_ctx: 40000/; s/context: \[64, 256, 0\]/context: [32768, 64]/; s/batch: \[2, 0\]/batch: [100]/
		s/k_dtype: \[q8, f16\]/k_dtype: [q8]/; s/n_layer: 1,/n_layer: 2,/' grid.yaml >limit/grid.yaml
	out_of_memory()
	{
		(ulimit -v 1000000 && "$KVLAB" run limit/grid.yaml --db limit.db --no-plots --threads 1)
	}
	check_exit 1 "memory ends in the middle of a grid: exit 1" out_of_memory
	check "that run has failed, the next is done" test \
		"$(sql limit.db "SELECT group_concat(state || ' ' || coalesce(substr(message, 1, 13), ''), ', ') FROM run")" = 'failed out of memory, done '
else
	skip "memory ends in the middle of a grid" "the program needs more address space than the limit of this test"
fi

# A signal in the middle: what was measured is kept, the rest goes on.
mkdir slow
sed 's/most_s: 0/most_s: 0.4, width: 0/; s/context: \[64, 256, 0\]/context: [32, 64, 96, 128, 160]/; s/batch: \[2, 0\]/batch: [1]/
	s/k_dtype: \[q8, f16\]/k_dtype: [q8]/' grid.yaml >slow/grid.yaml
"$KVLAB" run slow/grid.yaml --db slow.db --no-plots >run.log 2>&1 &
pid=$!
for ((i = 0; i < 200; i++)); do
	[[ -s slow.db ]] && (($(sql slow.db "SELECT count(*) FROM run WHERE state = 'done'" 2>/dev/null || echo 0) >= 2)) && break
	sleep 0.05
done
kill -INT $pid
wait $pid
code=$?
cp run.log output
report $((code != 1)) "a signal ends it with exit status 1"
sql slow.db "SELECT id, finished_at FROM run WHERE state = 'done'" >before
check "some runs were kept, none is left running" test \
	"$(sql slow.db "SELECT sum(state = 'done') BETWEEN 2 AND 4, sum(state = 'running') FROM run")" = '1|0'
check_exit 0 "the same command goes on" "$KVLAB" run slow/grid.yaml --db slow.db --no-plots
sql slow.db "SELECT id, finished_at FROM run WHERE state = 'done'" >after
check "to the end, and what was kept is untouched" test "$(grep -cxFf before after) $(wc -l <after)" = "$(wc -l <before) 5"

# Comparing: samples decide.
cp slow.db other.db
sqlite3 other.db "UPDATE sample SET value = value * 1000 WHERE name = 'decode'; UPDATE metric SET value = value + 1 WHERE name = 'n_param'"
check_exit 0 "a database against itself" "$KVLAB" compare slow.db slow.db --fail-if differs:0
check "has nothing that differs" grep -q '^5 pairs of runs; numbers: [0-9]* the same bits, 0 differ; timings: 0 faster, 0 slower' stdout
check_exit 1 "steps of a thousand times the length" "$KVLAB" compare slow.db other.db --fail-if slower:5%
check "are slower" grep -Eq 'decode \(s\): B takes 1000.000 of A.s median \[.*\], n .*: slower' stdout
check "and numbers are told" grep -q 'n_param/count: .* and ' stdout
check_exit 0 "and faster is no failure there" "$KVLAB" compare other.db slow.db --fail-if slower:5%
check "though it is told" grep -q 'B takes 0.001 of A.s median .*: faster' stdout
check_exit 1 "numbers that differ fail where asked" "$KVLAB" compare slow.db other.db --fail-if differs:0
check_exit 0 "two runs of one database" "$KVLAB" compare 1 2 --db slow.db
check "of different points, which it says" grep -q 'they are of different points' stdout
check_exit 2 "no such run" "$KVLAB" compare 1 99 --db slow.db
check "says where" grep -q "slow.db has no finished run of '99'" stderr
check_exit 2 "a share that is none" "$KVLAB" compare 1 2 --db slow.db --fail-if slower:x
check_exit 2 "neither file, run nor commit" "$KVLAB" compare main 2 --db slow.db
