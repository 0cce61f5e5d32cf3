# SPDX-License-Identifier: MIT
# kvlab eval: its numbers are those that follow from kvlab logits; bad input is one sentence on stderr, exit 2, nothing
# on stdout.
. "$TOP/tests/lib.sh"
models=$TOP/tests/fixtures/families

# A model with a tokenizer of 31 letters, 24 positions.
mkdir gpt2
cp "$models/gpt2"/* gpt2
cp "$TOP/tests/fixtures/tokenizers/letters.json" gpt2/tokenizer.json
printf 'the cat sat on the mat.\nthe dog sat on the log.\nthe hen sat on the pen.\n' >text

member() # NAME: of the JSON object in stdout
{
	sed -n "s/.*\"$1\": \([^,}]*\).*/\1/p" stdout
}
near() # A B
{
	awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d * d <= 1e-10 * b * b) }'
}

# Disjoint windows by hand: the loss of each token of a window but its first, and whether it was the most likely one.
mapfile -t ids < <("$KVLAB" tokenize gpt2 text | tr ' ' '\n')
for ((at = 0; at < ${#ids[@]}; at += 16)); do
	window=("${ids[@]:at:16}")
	"$KVLAB" logits gpt2 --ids "$(IFS=,; echo "${window[*]}")" | awk -v ids="${window[*]}" '
		BEGIN { n = split(ids, id, " ") }
		NR < n {
			most = 1; sum = 0
			for (j = 2; j <= NF; j++) if ($j > $most) most = j
			for (j = 1; j <= NF; j++) sum += exp($j - $most)
			print log(sum) + $most - $(id[NR + 1] + 1), most - 1 == id[NR + 1]
		}'
done >losses
read -r n loss accuracy < <(awk '{ n++; loss += $1; hits += $2 } END { printf "%d %.12g %.12g\n", n, loss / n, hits / n }' losses)

check_exit 0 "a text in windows of 16" "$KVLAB" eval gpt2 text --context 16 --json
check "scores every token but a window's first" test "$(member n_token)" = "$n"
check "loss" near "$(member loss)" "$loss"
check "accuracy" near "$(member accuracy)" "$accuracy"
check "perplexity" near "$(member perplexity)" "$(awk "BEGIN { printf \"%.12g\", exp($loss) }")"
check "bits per byte" near "$(member bits_per_byte)" "$(awk "BEGIN { printf \"%.12g\", $loss / log(2) * ${#ids[@]} / $(wc -c <text) }")"
check "is one JSON object" test "$(sqlite3 :memory: "SELECT json_valid(CAST(readfile('stdout') AS TEXT))")" = 1
check "no reference, no distance" test -z "$(member kl)"
mv stdout plain
check_exit 0 "other threads, other batches" "$KVLAB" eval gpt2 text --context 16 --json --threads 1 --batch 2
check "same bits" cmp plain stdout
check_exit 0 "by default" "$KVLAB" eval gpt2 text --json
check "windows are of all positions" test "$(member context)" = 24 -a "$(member stride)" = 24
check_exit 0 "strides" "$KVLAB" eval gpt2 text --context 16 --stride 4 --json
check "score every token but the first" test "$(member n_token)" = $((${#ids[@]} - 1))
check_exit 0 "against itself" "$KVLAB" eval gpt2 text --reference gpt2 --json
check "there is no distance" awk -v kl="$(member kl)" 'BEGIN { exit !(kl < 1e-6 && kl > -1e-6) }'
check "nor disagreement" test "$(member agreement)" = 1
check_exit 0 "with rounded keys" "$KVLAB" eval gpt2 text --reference gpt2 --cache k=q4 --json
check "there is some" awk -v kl="$(member kl)" 'BEGIN { exit !(kl > 1e-6) }'
check "whose type is told" test "$(member k_dtype) $(member v_dtype)" = '"q4" "f32"'
check_exit 0 "part of a text" "$KVLAB" eval gpt2 text --tokens 10 --json
check "is that much" test "$(member n_text_token) $(member n_byte)" = "10 $("$KVLAB" tokenize gpt2 text | cut -d' ' -f-10 | "$KVLAB" tokenize gpt2 - --decode --count)"
mkdir folder
head -n 1 text >folder/a
tail -n +2 text >folder/b
check_exit 0 "a folder of texts" "$KVLAB" eval gpt2 folder --json
check "has the end of a text behind each" test "$(member n_text_token)" = $((${#ids[@]} + 2))
DATA='' check_exit 2 "a corpus that is not here" "$KVLAB" eval gpt2 wikitext-2
check "is told with its remedy" grep -q "^kvlab: corpus 'wikitext-2' is not on this machine (set DATA" stderr
check_exit 0 "as a table" "$KVLAB" eval gpt2 text --context 16 --reference gpt2
for word in perplexity loss 'bits per byte' accuracy 'KL(reference || model)' 'top-1 agreement' 'standard errors over'; do
	check "with its $word" grep -q "$word" stdout
done
check_exit 0 "from a pipe" bash -c 'cat text | "$KVLAB" eval gpt2 - --context 16 --json'
check "the same loss" near "$(member loss)" "$loss"

# refused NAME SENTENCE ARGUMENT...
refused()
{
	local name=$1 sentence=$2
	shift 2
	check_exit 2 "$name is refused" "$KVLAB" eval "$@"
	check "$name: one sentence" test "$(grep -v '^tokens:' stderr)" = "kvlab: $sentence"
	check "$name: nothing on stdout" test ! -s stdout
}
: >empty
printf 'the \xff cat' >bytes
printf a >short
refused "a crowd of threads" "eval: option '--threads' takes 1 to 256" gpt2 text --threads 100000
refused "an empty text" "empty: holds no text" gpt2 empty
refused "what is no text" "bytes: byte 4 is not UTF-8 (0xff): convert the text (iconv), or take tokens: bytes" gpt2 bytes
refused "a text of one token" "a text of fewer than 2 tokens has none to predict (give a longer one)" gpt2 short
refused "no such text" "nothing: cannot be opened: No such file or directory" gpt2 nothing
refused "windows beyond the positions" "context 25 is beyond the 24 positions of the model" gpt2 text --context 25
refused "steps beyond the window" "stride 17 is not within 1 and the context of 16" gpt2 text --context 16 --stride 17
refused "a reference that is none" "nothing: cannot be opened: No such file or directory" gpt2 text --reference nothing
refused "another model's tokenizer" \
	"$TOP/tests/fixtures/tokenizers/gpt2.json: a tokenizer of 500 ids, and a model with a vocabulary of 31: not the model's own" \
	gpt2 text --tokenizer "$TOP/tests/fixtures/tokenizers/gpt2.json"
cp -r gpt2 cut
head -c 20000 gpt2/model.safetensors >cut/model.safetensors
check_exit 2 "a cut model is refused" "$KVLAB" eval cut text
check "by the tensor's name" grep -q "cut/model.safetensors: tensor '.*(truncated?)\$" stderr
