# SPDX-License-Identifier: MIT
# MODEL= and TEXT=: experiments on trained models run on any supported folder, whose shape, tokenizer and weights become
# those of the points; what is told as a share is the model's own; other weights under the same path are other points.
. "$TOP/tests/lib.sh"
mkdir plots
cp "$TOP"/plots/*.gp plots
ln -s "$TOP/experiments" experiments
small_models gpt2 llama pythia qwen2
simple_text 1600 >text
# keys MODEL: of the points of a rank sweep on it.
keys()
{
	"$KVLAB" plan rank_sweep --scale smoke --model "$1" --text text --keys | grep -oE '[0-9a-f]{32}$' | sort
}

for model in gpt2 llama pythia qwen2; do
	check_exit 0 "rank_sweep on $model" "$KVLAB" run rank_sweep --scale smoke --model $model --text text
	check "its table names the model" grep -q "^rank_sweep at scale smoke, beginning with $model, seeds 1; .*: [0-9]* done$" stdout
	check "so do its rows" grep -qE "^$model +K +[0-9]+/[0-9]+ +1/2 " stdout
	check "the whole rank changes nothing" grep -qE "^$model +whole .* [+-]0.00 ± 0.00 % .* 100.0 %" stdout
	check "its plot is there" test -s plots/rank_sweep.smoke.ranks.svg
done
check_exit 0 "finetune_recovery on a model without biases" "$KVLAB" run finetune_recovery --scale smoke --model llama --text text
check "every run is done" grep -q "7 runs planned: 7 done" stdout
check_exit 0 "composition on grouped heads" "$KVLAB" run composition --scale smoke --model llama --text text
check_exit 0 "and then the spec's own models" "$KVLAB" run rank_sweep --scale smoke
check "which its table has again" grep -q "^rank_sweep at scale smoke, seeds 1; " stdout

keys llama >before
check "there are points" test -s before
keys ./llama >elsewhere
check "another path is another point" test "$(comm -12 before elsewhere | wc -l)" = 0
cp -r llama kept
touch llama/model.safetensors
keys llama >after
check "the same weights are the same points" cmp before after
printf '\001' | dd of=llama/model.safetensors bs=1 seek="$(($(wc -c <llama/model.safetensors) - 2))" conv=notrunc 2>/dev/null
keys llama >after
check "one other byte of weights is other points, all of them" test "$(comm -12 before after | wc -l)" = 0
check "as many" test "$(wc -l <after)" = "$(wc -l <before)"

base=$(ls -d results/models/*/ | head -n 1)
check_exit 0 "a model of bytes needs no tokenizer" "$KVLAB" plan composition --scale smoke --model "$base"
mkdir -p above/hf
cp kept/config.json kept/model.safetensors above/hf
check_exit 2 "another does" "$KVLAB" plan rank_sweep --scale smoke --model above/hf
check "says where one was looked for" grep -q "above/hf: no tokenizer in this folder (.*), and none above it (say --tokenizer PATH" stderr
check_exit 0 "it may be named" "$KVLAB" plan rank_sweep --scale smoke --text text --model above/hf --tokenizer kept/tokenizer.json
cp kept/tokenizer.json above
check_exit 0 "or lie one folder above" "$KVLAB" plan rank_sweep --scale smoke --text text --model above/hf
check "plan names the model" grep -q "^rank_sweep at scale smoke, beginning with above/hf: " stdout
# refused NAME SENTENCE ARGUMENTS...: one line that holds the sentence, exit 2.
refused()
{
	local name=$1 sentence=$2
	shift 2
	check_exit 2 "$name" "$KVLAB" plan "$@"
	check "in one line, as it should" test "$(grep -cFe "$sentence" stderr)" = 1 -a "$(wc -l <stderr)" = 1
}
refused "no such folder" "source 'nowhere' is not on this machine (set DATA to a folder with it)" rank_sweep --model nowhere
refused "a folder without weights" "no weights in this folder" rank_sweep --model plots
refused "a procedure that trains" "procedure 'train' starts from no trained model (leave MODEL out)" recall --model gpt2
refused "a tokenizer of nothing" "no --model is given" rank_sweep --tokenizer gpt2
refused "no such text" "nowhere: cannot be opened" rank_sweep --model gpt2 --text nowhere
refused "a tokenizer with more tokens" "not the model's own" rank_sweep --model gpt2 --tokenizer "$TOP/tests/fixtures/tokenizers/gpt2.json"
# SET: single options above the spec, swept or not.
check_exit 0 "an option for every point" "$KVLAB" plan rank_sweep --scale smoke --set "recover.n_test=6 recover.share=1/2"
check "its axis is gone" test "$(grep -c 'share=1/[346]' stdout)" = 0
keys_of()
{
	"$KVLAB" plan log2n_retrieval --scale smoke --keys "$@" | grep -oE '[0-9a-f]{32}$' | sort
}
keys_of >before
keys_of --set train.lr=0.125 >after
check "points are others" test -s before -a "$(comm -12 before after | wc -l)" = 0
refused "no such option" "--set recover.n_tst=4: unknown key 'n_tst' in 'recover' (did you mean 'n_test'?)" rank_sweep --set recover.n_tst=4
refused "no value of it" "--set recover.n_test=x: n_test: 'x' is not an integer" rank_sweep --set recover.n_test=x
refused "no setting" "--set: 'n_test' is no SECTION.OPTION=VALUE" rank_sweep --set n_test
