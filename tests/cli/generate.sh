# SPDX-License-Identifier: MIT
# kvlab generate: what it adds is what kvlab logits says is most likely, step by step; text and ids agree; draws are
# repeatable; it ends at the end of a text and before the model's positions do; bad input is one sentence, exit 2.
. "$TOP/tests/lib.sh"
models=$TOP/tests/fixtures/families

# A model with a tokenizer of 31 letters. 24 and 64 positions.
for model in gpt2 llama; do
	mkdir $model
	cp "$models/$model"/* $model
	cp "$TOP/tests/fixtures/tokenizers/letters.json" $model/tokenizer.json
done

# by_hand MODEL IDS N: greedy, with a whole forward pass for each token.
by_hand()
{
	local ids=$2 new= next
	for ((i = 0; i < $3; i++)); do
		next=$("$KVLAB" logits "$1" --last --ids "$ids" |
			awk '{ best = 1; for (j = 2; j <= NF; j++) if ($j > $best) best = j; print best - 1 }')
		ids+=,$next new+=" $next"
	done
	echo "${new# }"
}

check_exit 0 "new ids of a prompt" "$KVLAB" generate gpt2 "the cat" --n 12 --ids
prompt=$(printf 'the cat' | "$KVLAB" tokenize gpt2 - | tr ' ' ,)
check "are the most likely ones" test "$(cat stdout)" = "$(by_hand gpt2 "$prompt" 12)"
tr ' ' '\n' <stdout | "$KVLAB" tokenize gpt2 - --decode >new
check_exit 0 "new text" "$KVLAB" generate gpt2 "the cat" --n 12 --new
check "is theirs, to the byte" cmp stdout new
check_exit 0 "text" "$KVLAB" generate gpt2 "the cat" --n 12
check "is the prompt and the new text" cmp stdout <(printf 'the cat' | cat - new)
check_exit 0 "without --n, up to the last position" "$KVLAB" generate gpt2 "the cat" --ids
check "24 positions less 6" test "$(wc -w <stdout)" = 18
check_exit 0 "an empty prompt is the beginning of a text" "$KVLAB" generate gpt2 "" --n 3 --ids
check "after the token that begins one" test "$(cat stdout)" = "$(by_hand gpt2 30 3)"

# Token 2 is config.json's end: after "go" the model says q, c, which is it.
check_exit 0 "a text can end early" "$KVLAB" generate llama "the cat" --n 15 --ids
first=$(printf 'the cat' | "$KVLAB" tokenize llama - | tr ' ' ,)
n=$(wc -w <stdout)
check "after some tokens" test "$n" -ge 1 -a "$n" -lt 15
check "where the most likely one is the end" test "$(by_hand llama "$first" $((n + 1)))" = "$(cat stdout) 2"

check_exit 0 "drawn" "$KVLAB" generate gpt2 "the" --n 18 --ids --temperature 1.5 --seed 7
mv stdout seven
check_exit 0 "drawn again" "$KVLAB" generate gpt2 "the" --n 18 --ids --temperature 1.5 --seed 7 --threads 1
check "the same" cmp seven stdout
check_exit 0 "with another seed" "$KVLAB" generate gpt2 "the" --n 18 --ids --temperature 1.5 --seed 8
check "another text" bash -c '! cmp -s seven stdout'
"$KVLAB" generate gpt2 "the" --n 18 --ids >greedy
check_exit 0 "from one token alone" "$KVLAB" generate gpt2 "the" --n 18 --ids --temperature 2 --top-k 1
check "nothing is left to chance" cmp greedy stdout
check_exit 0 "nor from the smallest share" "$KVLAB" generate gpt2 "the" --n 18 --ids --temperature 2 --top-p 0.000001
check "at all" cmp greedy stdout
check_exit 0 "rounded keys and values are good enough to go on" "$KVLAB" generate gpt2 "the" --n 18 --ids --cache k=q4,v=q4
check "but not the same text" bash -c '! cmp -s greedy stdout'

# refused NAME SENTENCE ARGUMENT...
refused()
{
	local name=$1 sentence=$2
	shift 2
	check_exit 2 "$name is refused" "$KVLAB" generate "$@"
	check "$name: one sentence" test "$(cat stderr)" = "kvlab: $sentence"
	check "$name: nothing on stdout" test ! -s stdout
}
refused "more than the positions" \
	"generate: a prompt of 6 tokens and 19 more are beyond the model's 24 positions (say --n 18)" gpt2 "the cat" --n 19
refused "a long prompt" "generate: a prompt of 24 tokens leaves none of the model's 24 positions" gpt2 \
	"aaaaaaaaaaaaaaaaaaaaaaaa"
refused "an impossible share" "generate: option '--top-p' needs a share above 0, at most 1" gpt2 a --temperature 1 --top-p 1.5
refused "a cold draw" "generate: nothing is drawn at temperature 0 (give --temperature 1)" gpt2 a --top-k 3
refused "a word for a number" "generate: option '--temperature': 'warm' is not a number of at least 0" gpt2 a --temperature warm
refused "a cache type that is none" "k_dtype: 'q3' is not one of f32|f16|bf16|q8|q4" gpt2 a --cache k=q3
refused "half a cache setting" "generate: option '--cache': 'k' is no setting (say --cache k=q8,v=q8)" gpt2 a --cache k
refused "a character without a token" "gpt2/tokenizer.json: the vocabulary has no token for byte 0x21 in '!' of the text" gpt2 "a!"
refused "another model's tokenizer" \
	"$TOP/tests/fixtures/tokenizers/gpt2.json: a tokenizer of 500 ids, and a model with a vocabulary of 31: not the model's own" \
	gpt2 a --tokenizer "$TOP/tests/fixtures/tokenizers/gpt2.json"
check_exit 2 "a model without a tokenizer is refused" "$KVLAB" generate "$models/gpt2" a
check "by its folder" grep -q "^kvlab: $models/gpt2: " stderr

stories=${DATA:-/nonexistent}/stories260k
if [[ -e $stories ]]; then
	for model in stories260K.bin hf; do
		check_exit 0 "stories260K from $model" "$KVLAB" generate "$stories/$model" "" --n 200 --tokenizer "$stories/tok512.bin"
		check "is what llama2.c prints" cmp stdout "$stories/expected_greedy_200.txt"
	done
else
	skip "stories260K" "DATA names no folder with stories260k"
fi
