# SPDX-License-Identifier: MIT
# kvlab logits: a line per position, enough digits to bring every float back, the last line alone the same bits; a bad
# model or bad tokens are one sentence on stderr, exit 2, nothing on stdout.
. "$TOP/tests/lib.sh"
models=$TOP/tests/fixtures/families

check_exit 0 "three tokens" "$KVLAB" logits "$models/pythia" --ids 3,1,30
check "a line per position" test "$(wc -l <stdout)" = 3
check "a number per token of the vocabulary" test "$(awk '{ print NF }' stdout | sort -u)" = 31
tail -n 1 stdout >last
check_exit 0 "the last position alone" "$KVLAB" logits --last "$models/pythia" --ids 3,1,30
check "is the last line" cmp stdout last
check_exit 0 "a file beside its config.json" "$KVLAB" logits "$models/gpt2/model.safetensors" --ids 0
"$KVLAB" logits "$models/llama_plain" --ids 5,6,7 >hub
"$KVLAB" logits "$models/llama2c/model.bin" --ids 5,6,7 >bin
check "the .bin and the folder of a model say the same" cmp hub bin

# refused NAME SENTENCE ARGUMENT...
refused()
{
	local name=$1 sentence=$2
	shift 2
	check_exit 2 "$name is refused" "$KVLAB" logits "$@"
	check "$name: one sentence" test "$(cat stderr)" = "kvlab: $sentence"
	check "$name: nothing on stdout" test ! -s stdout
}
refused "no tokens" "logits: which tokens? say --ids 1,2,3" "$models/gpt2"
refused "a token beyond the vocabulary" \
	"logits: option '--ids': token 2 is beyond the model's vocabulary of 31" "$models/gpt2" --ids 1,31
refused "a number beyond all" \
	"logits: option '--ids': token 1 is beyond the model's vocabulary of 31" "$models/gpt2" --ids 99999999999999999999
for ids in '' ',' '1,' '1,,2' '-1' '1 2' '0x1' ' 1'; do
	check_exit 2 "tokens '$ids'" "$KVLAB" logits "$models/gpt2" --ids "$ids"
	check "tokens '$ids': the sentence" grep -q "is no whole number (say --ids 1,2,3)\$" stderr
done
refused "more tokens than positions" "logits: 25 tokens are more than the model's 24 positions" \
	"$models/gpt2" --ids 0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0
refused "a folder without a model" \
	"$TOP/tests/cli: no weights in this folder (model.safetensors, model.safetensors.index.json, or one .gguf or .bin)" \
	"$TOP/tests/cli" --ids 1
mkdir bare
cp "$models/gpt2/model.safetensors" bare
refused "weights without a configuration" "bare: there is no config.json beside the weights" bare --ids 1
cp "$models/gpt2/config.json" bare
head -c 20000 "$models/gpt2/model.safetensors" >bare/model.safetensors
check_exit 2 "a cut file is refused" "$KVLAB" logits bare --ids 1
check "by the tensor's name" grep -q "bare/model.safetensors: tensor '.*(truncated?)\$" stderr
