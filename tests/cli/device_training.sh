# SPDX-License-Identifier: MIT
# Training on a device: plan says its memory without it being there, precision and recompute are part of a point's key and
# the device stands under a table; on the emulated plugin, where it could be built, training and recovery run, and with
# recompute give the same numbers.
. "$TOP/tests/lib.sh"
plugin=$BUILD/kvlab_cuda_emulated.so

cat >train.yaml <<'SPEC'
experiment: train
question: does it train there?
procedure: train
model: {family: decoder, n_layer: 2, d_model: 16, n_head: 2, d_ff: 16}
variant: {name: mha}
task: {name: retrieval, n_key: 4, n_value: 4}
train: {steps: 4, eval_every: 2, n_validation: 8, n_test: 8, batch: 4}
sweep:
  product:
    train.recompute: [false, true]
seeds: [1]
report:
  tables: [{name: all, title: all, sql: "select r.label, m.value from trained_run r join metric m on m.run_id = r.run_id
    where r.scale = :scale and m.name = 'loss' and m.split = 'test'"}]
SPEC
sed 's/experiment: .*/experiment: cpu_bf16/; s/batch: 4}/batch: 4, precision: bf16}/' train.yaml >cpu_bf16.yaml
sed "s|experiment: .*|experiment: bf16|; s|batch: 4}|batch: 4, precision: bf16, device: $plugin}|" train.yaml >bf16.yaml
sed 's/experiment: .*/experiment: large/; s/batch: 4}/batch: 1048576}/' train.yaml >large.yaml

check_exit 2 "bf16 on the cpu" "$KVLAB" plan ./cpu_bf16.yaml
check "bf16 on the cpu: the sentence" grep -q "precision bf16 needs a device" stderr
check_exit 0 "plan without a device" "$KVLAB" plan ./train.yaml --device cuda --keys
check "plan says the device's memory" grep -q "device memory" stdout
cp stdout there
check_exit 0 "plan on the cpu" "$KVLAB" plan ./train.yaml --keys
check "plan on the cpu says nothing of it" test "$(grep -c "device" stdout)" = 0
check "keys differ" test "$(grep -oh '[0-9a-f]\{32\}' stdout there | sort -u | wc -l)" = 4

if [[ ! -e $plugin ]]; then
	skip "the emulated device" "not built here: no g++, or a sanitizer's build"
	exit 0
fi
check_exit 0 "training in f32" "$KVLAB" run ./train.yaml --device "$plugin" --db f32.db --no-plots
check "its device is under the table" grep -q "emulated device" stdout
check "losses with recompute are the same" test "$(sqlite3 f32.db "select count(*) from metric where split <> 'device' group by name, split, step
	having count(*) = 2 and min(value) <> max(value)" | wc -l)" = 0
check "there are two of each" test "$(sqlite3 f32.db "select count(*) from metric where name = 'loss' and split = 'test'")" = 2
sed -e 's/^experiment.*/experiment: failing/' -e 's/train.recompute: .*/train.recompute: [false]/' train.yaml >failing.yaml
KVLAB_EMULATED_WAITS=20 check_exit 1 "a kernel that fails" "$KVLAB" run ./failing.yaml --device "$plugin" --db failing.db \
	--checkpoint-every 0 --no-plots
check "the point failed with the cause" grep -q "launch failure" <(sqlite3 failing.db "select message from run where state = 'failed'")
check "its checkpoint is there" test "$(find checkpoints -name '*.ckpt' | wc -l)" = 1
check_exit 0 "the same command again" "$KVLAB" run ./failing.yaml --device "$plugin" --db failing.db --no-plots
check "it ends with the same loss" test "$(sqlite3 failing.db "attach 'f32.db' as f; select count(*) from metric m
	join f.metric n using (name, split, step, value) where name = 'loss' and split = 'test'")" -ge 1
KVLAB_RANKS=0/1:$PWD/id check_exit 0 "training as the only rank" "$KVLAB" run ./train.yaml --device "$plugin" --db rank.db --no-plots
check "it has the same numbers" test "$(sqlite3 rank.db "attach 'f32.db' as f; select count(*) from metric m join f.metric n
	on m.run_id = n.run_id and m.name = n.name and m.split = n.split and m.step = n.step and m.value = n.value
	where m.name = 'loss'")" -ge 8
KVLAB_RANKS=2/1:id check_exit 2 "a rank that cannot be" "$KVLAB" run ./train.yaml --device "$plugin" --db rank.db --no-plots
check "a rank that cannot be: the sentence" grep -q "KVLAB_RANKS='2/1:id' is not RANK/N:FILE" stderr
check_exit 0 "training in bf16" "$KVLAB" run ./bf16.yaml --db bf16.db --no-plots
check "its precision is under the table" grep -q "in bf16" stdout
check "what was taken stands beside what was planned" test "$(sqlite3 bf16.db "select count(*) from metric where split = 'device'
	and name in ('allocated_bytes', 'planned_bytes') and value > 0")" = 4
check_exit 1 "a batch that does not fit" "$KVLAB" run ./large.yaml --device "$plugin" --db large.db --no-plots
check "the point failed with the figures" test "$(sqlite3 large.db "select message like 'needs % GiB of the memory of device %'
	from run where state = 'failed'" | sort -u)" = 1
check_exit 0 "the same in plan" "$KVLAB" plan ./large.yaml --device "$plugin"
check "plan says so, and what recompute takes" grep -q "would fail: needs .* free" stdout

sed -e 's/^experiment.*/experiment: deep/; s/n_layer: 2, d_model: 16/n_layer: 8, d_model: 64/; s/batch: 4}/batch: 512}/' train.yaml >deep.yaml
KVLAB_EMULATED_BYTES=150000000 check_exit 0 "plan for a small card" "$KVLAB" plan ./deep.yaml --device "$plugin"
check "plan suggests recompute" grep -q "would fail: needs .* free (recompute: true takes" stdout
check "and that point fits" test "$(grep -c "would fail:" stdout)" = 1
sed -e 's/^experiment.*/experiment: auto/; s/n_layer: 2, d_model: 16/n_layer: 6, d_model: 32/; s/batch: 4}/batch: 64}/; s/steps: 4/steps: 1/' \
	-e 's/\[false, true\]/[auto]/' train.yaml >auto.yaml
check_exit 0 "plan that may choose" "$KVLAB" plan ./auto.yaml --device "$plugin"
check "it keeps what was computed where that fits" test "$(grep -c "recompute" stdout)" = 1
KVLAB_EMULATED_BYTES=16000000 check_exit 0 "plan that may choose, for a small card" "$KVLAB" plan ./auto.yaml --device "$plugin"
check "it computes it twice" grep -q "recompute=auto .* true" stdout
KVLAB_EMULATED_BYTES=16000000 check_exit 0 "so does a run" "$KVLAB" run ./auto.yaml --device "$plugin" --db auto.db --no-plots
check "what it chose stands with it" test "$(sqlite3 auto.db "select value from metric where name = 'recompute'")" = 1.0

sed -e 's/^experiment.*/experiment: recover/; s/^procedure.*/procedure: recover/; s/^model.*/model: {family: gpt2, n_layer: 2, d_model: 16, n_head: 4, d_ff: 32, n_vocab: 0, n_ctx: 0}/' \
	-e 's/^task.*/task: {name: text, corpus: file, path: text, tokens: bytes, length: 16, documents: packed}/' \
	-e 's/^train:.*/recover: {base_folder: bases, base_steps: 2, base_batch: 4, base_warmup: 1, steps: 2, batch: 4, warmup: 1, n_calibration: 2, n_test: 4, n_validation: 4}/' \
	-e 's/^variant.*/variant: {name: factored_keys}/; s/train.recompute.*/recover.rank_kept: [true, false]/; s/^seeds/seeds/' train.yaml >recover.yaml
sed -i 's/n_validation: 4}/n_validation: 4, share: 1\/2}/' recover.yaml
for i in $(seq 400); do echo "line $i of a text that is long enough to be cut into windows"; done >text
check_exit 0 "recovery" "$KVLAB" run ./recover.yaml --device "$plugin" --db recover.db --no-plots
check "all of it was done" test "$(sqlite3 recover.db "select count(*) from run where state = 'done'")" = 2
