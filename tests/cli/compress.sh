# SPDX-License-Identifier: MIT
# kvlab compress: a model's folder becomes one with a smaller cache that eval and generate run; it is there whole or not at
# all; one that was interrupted goes on from its checkpoint, with the same bits; bad input is one sentence, exit 2.
. "$TOP/tests/lib.sh"
small_models gpt2 llama
simple_text 400 >text
tune=(--finetune text --steps 20 --batch 4 --lr 1e-3 --threads 2)
# number FILE KEY: what report.json says of it.
number()
{
	grep -o "\"$2\": [-0-9.e+]*" "$1" | head -n 1 | sed 's/.*: //'
}

check_exit 0 "without a text the model is converted, no more" "$KVLAB" compress gpt2 -o plain --d-select 12 --threads 2
check "its files are there" test -f plain/model.safetensors -a -f plain/config.json -a -f plain/tokenizer.json -a -f plain/report.md
"$KVLAB" logits gpt2 --ids 1,2,3,4,5 >before
"$KVLAB" logits plain --ids 1,2,3,4,5 >after
check "at full rank it says what the model says" python3 - <<-'END'
	a, b = ([float(x) for x in open(f).read().split()] for f in ("before", "after"))
	assert len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) < 1e-4, max(abs(x - y) for x, y in zip(a, b))
END
check_exit 0 "compressed and tuned" "$KVLAB" compress gpt2 -o thin --d-select 6 "${tune[@]}"
check "the report has both shares" grep -q '"share": 0.5}' thin/report.json
check "half of the keys are a quarter of the cache" grep -q '"share": 0.75}' thin/report.json
check "tuning helps" awk "BEGIN { exit !($(grep '"tuned"' thin/report.json | grep -o 'loss": [0-9.]*' | head -n 1 | sed 's/.*: //') < $(grep '"converted"' thin/report.json | grep -o 'loss": [0-9.]*' | head -n 1 | sed 's/.*: //') - 0.1) }"
check "nothing else is left" test "$(ls -d thin*)" = thin
check_exit 0 "kvlab eval runs it" "$KVLAB" eval thin text --threads 2
check_exit 0 "kvlab generate runs it" "$KVLAB" generate thin "the cat" --n 5 --ids
check "five tokens" test "$(wc -w <stdout)" = 5
check_exit 0 "the same with one thread" "$KVLAB" compress gpt2 -o one --d-select 6 "${tune[@]}" --threads 1
check "has the same bits" cmp thin/model.safetensors one/model.safetensors
check_exit 0 "rotary positions, text for the basis, ranks by Fisher information" "$KVLAB" compress llama -o rope \
	--d-select 8 --whiten --ranks fisher --finetune text --threads 2
check_exit 0 "run" "$KVLAB" eval rope text --threads 2
check_exit 0 "heads are pooled" "$KVLAB" compress gpt2 -o pooled --variant gqa --n-kv-head 1 --threads 2
check_exit 0 "run, too" "$KVLAB" generate pooled "the cat" --n 5 --ids

# Interrupted while it tunes: long enough to be caught, and then to the end.
long=(--finetune text --steps 3000 --batch 4 --lr 1e-3 --threads 1)
"$KVLAB" compress gpt2 -o cut --d-select 6 "${long[@]}" >/dev/null 2>stderr &
child=$!
# Not before it listens: bit 14 of the signals that it catches is SIGTERM's.
for ((i = 0; i < 600; i++)); do
	caught=$(awk '/SigCgt/ { print $2 }' /proc/$child/status 2>/dev/null)
	(((16#${caught:-0} & 1 << 14) == 0)) || break
	sleep 0.1
done
kill -TERM $child
wait $child
code=$?
check "one that is interrupted is no success" test $code = 1
check "says how to go on" grep -q "the same command goes on from cut.checkpoint" stderr
check "has left no folder" test ! -e cut -a ! -e cut.tmp -a -e cut.checkpoint
check_exit 0 "the same command goes on" "$KVLAB" compress gpt2 -o cut --d-select 6 "${long[@]}"
check_exit 0 "one that was not interrupted" "$KVLAB" compress gpt2 -o whole --d-select 6 "${long[@]}"
check "has the same bits" cmp cut/model.safetensors whole/model.safetensors
check "and the checkpoint is gone" test ! -e cut.checkpoint

# refused NAME SENTENCE ARGUMENT...
refused()
{
	local name=$1 sentence=$2
	shift 2
	check_exit 2 "$name" "$KVLAB" compress "$@"
	check "says: $sentence" grep -qF -- "$sentence" stderr
	check "in one line" test "$(wc -l <stderr)" = 1
}
refused "a folder that exists" "thin: is there already" gpt2 -o thin --d-select 6
refused "no folder" "say -o OUT" gpt2 --d-select 6
refused "rank 0" "d_select must be 1 to" gpt2 -o bad --d-select 0
refused "a rank above the width" "d_select must be 1 to" gpt2 -o bad --d-select 13
refused "no rank" "d_select must be 1 to" gpt2 -o bad
refused "a rank that cannot be paired" "rope cannot pair" llama -o bad --d-select 7 --rope planes
refused "a variant that nothing is made of" "cannot be made of a trained model" gpt2 -o bad --variant mla
refused "steps without a text" "without a text" gpt2 -o bad --d-select 6 --steps 3
refused "an option of another variant" "has no option 'd_rope'" gpt2 -o bad --variant gqa --d-rope 2
refused "a model that is compressed already" "begins with separate queries, keys and values" thin -o bad --d-select 4
refused "no model" "nowhere" nowhere -o bad --d-select 6
head -c 300 text >short
refused "a text that is too short" "holds no window of" gpt2 -o bad --d-select 6 --finetune short
check "none of them has left anything" test ! -e bad -a ! -e bad.tmp -a ! -e bad.checkpoint
