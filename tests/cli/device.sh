# SPDX-License-Identifier: MIT
# --device: a device that is not there is one sentence and exit 2 before anything is stored; on the emulated plugin, where
# it could be built, generate, logits and eval say what they say on the CPU, points are runs of their own with the
# device's name, and a point that does not fit its memory fails alone with the figures.
. "$TOP/tests/lib.sh"
models=$TOP/tests/fixtures/families
plugin=$BUILD/kvlab_cuda_emulated.so

cp -r "$models/llama" llama
cp "$TOP/tests/fixtures/tokenizers/letters.json" llama/tokenizer.json
printf 'the cat sat on the mat' >text

cat >grid.yaml <<'SPEC'
experiment: grid
question: what runs on a device?
procedure: decode
model: {family: llama, n_layer: 1, d_model: 64, n_head: 4, n_kv_head: 2, d_ff: 64, n_vocab: 100, n_ctx: 300}
variant: {name: gqa}
task: {name: noise, n_vocab: 2, length: 1}
decode: {prompt: 32, prompt_rounds: 1, warm_s: 0, most_s: 0, weight_dtype: f32, context: 200}
cache: {k_dtype: f16, v_dtype: f16}
sweep:
  product:
    decode.batch: [1, 1048576]
seeds: [1]
report:
  tables: [{name: all, title: all, sql: "select label from plan where scale = :scale order by ordinal"}]
SPEC
sed -e 's/experiment: grid/experiment: count/; s/procedure: decode/procedure: count/; /^decode:/d; s/decode.batch: .*/count.context: [48, 50]/' grid.yaml >count.yaml

# refused NAME SENTENCE ARGUMENT...
refused()
{
	local name=$1 sentence=$2
	shift 2
	check_exit 2 "$name" "$KVLAB" "$@"
	check "$name: the sentence" grep -q -- "^kvlab: .*$sentence" stderr
	check "$name: nothing on stdout" test ! -s stdout
}
for command in "generate llama the" "logits llama --ids 1" "eval llama text" "run ./grid.yaml --db no.db"; do
	# shellcheck disable=SC2086
	refused "${command%% *} on no device" "--device 'gpu': there are cpu, cuda and paths" $command --device gpu
done
refused "a plugin that is not there" "cannot be loaded" logits llama --ids 1 --device ./no.so
refused "a plugin that is none" "cannot be loaded" run ./grid.yaml --db no.db --device ./grid.yaml
refused "a procedure of the cpu" "procedure 'count' runs on the cpu alone" run ./count.yaml --db no.db --device cuda
check "nothing was stored" test ! -e no.db
if nvidia-smi -L >/dev/null 2>&1; then
	skip "cuda where there is none" "there is a device"
else
	refused "cuda where there is none" "[Cc][Uu][Dd][Aa]" run ./grid.yaml --db no.db --device cuda
	check "still nothing was stored" test ! -e no.db
fi

if [[ ! -e $plugin ]]; then
	skip "the emulated device" "not built here: no g++, or a sanitizer's build"
	exit 0
fi
"$KVLAB" generate llama "the cat" --n 10 --ids >cpu
check_exit 0 "generate on a device" "$KVLAB" generate llama "the cat" --n 10 --ids --device "$plugin"
check "says what it says on the cpu" cmp cpu stdout
"$KVLAB" generate llama "the cat" --n 10 --ids --cache k=q8,v=q4 >cpu
check_exit 0 "generate through a rounded cache" \
	"$KVLAB" generate llama "the cat" --n 10 --ids --cache k=q8,v=q4 --device "$plugin"
check "says the same, too" cmp cpu stdout
"$KVLAB" logits llama --ids 1,5,9 >cpu
check_exit 0 "logits on a device" "$KVLAB" logits llama --ids 1,5,9 --device "$plugin"
paste -d ' ' cpu stdout >both
check "are the cpu's to rounding" awk '{ n = NF / 2; for (i = 1; i <= n; i++) { d = $i - $(i + n); if (d * d > 1e-10) exit 1 } }' both
check "of all positions" test "$(wc -l <both)" = 3
"$KVLAB" eval llama text --context 8 --json >cpu
check_exit 0 "eval on a device" "$KVLAB" eval llama text --context 8 --json --device "$plugin" --reference llama
loss()
{
	sed 's/.*"loss": \([0-9.]*\).*/\1/' "$1"
}
check "finds the cpu's loss" awk -v a="$(loss cpu)" -v b="$(loss stdout)" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < 1e-10) }'

sql()
{
	sqlite3 -readonly results.db "$1"
}
check_exit 1 "a grid on a device: what does not fit fails" \
	"$KVLAB" run ./grid.yaml --db results.db --no-plots --device "$plugin" --threads 1
check "alone" test "$(sql "SELECT count(*), sum(state = 'done'), sum(state = 'failed') FROM run")" = "2|1|1"
check "with the figures" test "$(sql "SELECT message LIKE 'needs % GiB of the memory of device %' FROM run WHERE state = 'failed'")" = 1
check "the build names the device" test "$(sql "SELECT count(*) FROM build WHERE cuda LIKE '%emulated%'")" = 1
check "and so does the point" test "$(sql "SELECT count(*) FROM point WHERE json LIKE '%\"device\":%'")" = 2
check "decoding was held to its forward pass" \
	test "$(sql "SELECT value < 2e-4 FROM metric WHERE name = 'gate_error'")" = 1
sed -i 's/, 1048576//' grid.yaml
check_exit 0 "the same on the cpu" "$KVLAB" run ./grid.yaml --db results.db --no-plots --threads 1
check "is another run" test "$(sql "SELECT count(*), sum(state = 'done') FROM run")" = "3|2"
