# SPDX-License-Identifier: MIT
# For shell tests (tests/cli/*.sh): one TAP line per check. The driver has made the current folder for this test
# alone and exported TOP (sources), KVLAB (the program), BUILD and MAKE_SWITCHES.
# shellcheck shell=bash
set -u
n_check=0
trap 'code=$?; echo "1..$n_check"; exit $code' EXIT

# report CODE NAME: passes when CODE is 0, else shows ./output.
report()
{
	n_check=$((n_check + 1))
	if (($1 == 0)); then
		echo "ok $n_check - $2"
	else
		echo "not ok $n_check - $2"
		[[ ! -e output ]] || sed 's/^/# /' output
	fi
	return 0
}

# check NAME COMMAND...: passes when the command exits 0. Its output is left in ./output.
check()
{
	local name=$1 code=0
	shift
	"$@" >output 2>&1 || code=$?
	report $code "$name"
}

# check_exit CODE NAME COMMAND...: passes when the command exits so. ./stdout and ./stderr keep what it printed.
check_exit()
{
	local want=$1 name=$2 code=0
	shift 2
	"$@" >stdout 2>stderr || code=$?
	{
		echo "exit status $code, expected $want"
		cat stdout stderr
	} >output
	report $((code != want)) "$name"
}

# skip NAME WHY: counts one check as skipped.
skip()
{
	n_check=$((n_check + 1))
	echo "ok $n_check # SKIP $2 ($1)"
}

# small_models FAMILY...: a folder of that name each, a tiny model with a tokenizer of letters.
small_models()
{
	local model
	for model; do
		mkdir "$model"
		cp "$TOP/tests/fixtures/families/$model"/* "$model"
		cp "$TOP/tests/fixtures/tokenizers/letters.json" "$model/tokenizer.json"
	done
}

# simple_text N: N lines of nine common words, always the same.
simple_text()
{
	awk -v lines="$1" 'BEGIN { srand(1); n = split("the cat sat on a mat dog ran to you go home", w, " ")
		for (i = 0; i < lines; i++) { for (j = 0; j < 9; j++) printf "%s ", w[int(rand() * n) + 1]; print "" } }'
}
