# SPDX-License-Identifier: MIT
# kvlab doctor: finds what is there, says what is missing and what for, exit 1 only where something needed is not right.
. "$TOP/tests/lib.sh"

# A corpus of our own stands for the default one, so that nothing depends on this machine's packages.
mkdir -p data/gcide data/tinyshakespeare cache
printf 'word\n   meaning\n' >data/gcide/gcide.dict.dz
export DATA=$PWD/data KVLAB_CACHE=$PWD/cache
has() # STATE NAME [PATTERN]
{
	grep -Eq "^$1 +$2 +${3:-}" stdout
}

check_exit 0 "where all is well" "$KVLAB" doctor
check "it says so" grep -qx 'all that is needed is here' stdout
for row in program:commit processor:.*online BLAS:OpenBLAS database:SQLite YAML:libfyaml JSON:jansson patterns:PCRE2 \
	'normal forms:utf8proc' compression:zlib hashes:xxHash gnuplot:gnuplot "DATA:$DATA" "gcide:$DATA/gcide"; do
	check "found: ${row%%:*}" has found "${row%%:*}" "${row#*:}"
done
check "a corpus is missing, with its remedy" has missing tinyshakespeare 'set DATA to a folder with .*; for char_lm'
check "models are missing, with theirs" has missing models 'make model M='
check "so are results" has missing results 'results/results.db is not there yet'
check "nothing is written" test ! -e results -a ! -e models -a -z "$(ls cache)"
check_exit 0 "as JSON" "$KVLAB" doctor --json
check "it is a list" test "$(sqlite3 :memory: "SELECT json_array_length(CAST(readfile('stdout') AS TEXT)) > 20")" = 1
check "of the same" test "$(sqlite3 :memory: "SELECT json_extract(value, '\$.state') FROM
	json_each(CAST(readfile('stdout') AS TEXT)) WHERE json_extract(value, '\$.name') = 'tinyshakespeare'")" = missing

echo text >data/tinyshakespeare/input.txt
mkdir -p models/tiny
cp "$TOP/tests/fixtures/families/gpt2/config.json" models/tiny
cat >one.yaml <<'SPEC'
experiment: one
question: is it seen?
procedure: train
model: {family: decoder, n_layer: 1, d_model: 16, n_head: 2, d_ff: 16}
variant: {name: mha}
task: {name: retrieval, n_key: 4}
train: {steps: 2, batch: 4, n_validation: 8, n_test: 8}
seeds: [1, 2]
SPEC
"$KVLAB" run ./one.yaml >/dev/null 2>&1
check_exit 0 "later" "$KVLAB" doctor
check "the corpus is found" has found tinyshakespeare "$DATA"
check "and the model" has found models 'tiny$'
check "and the runs" has found results 'results/results.db, schema [0-9]+: 2 runs \(2 done\) of 1 experiments'

check_exit 1 "without gnuplot" env PATH=/nonexistent "$KVLAB" doctor
check "it is named as needed" has missing gnuplot 'for plots .*\(needed\)$'
check "and counted" grep -qx '1 thing to see to' stdout
check_exit 1 "a folder that is not there" env DATA=/nonexistent "$KVLAB" doctor
check "is told" has broken DATA "the variable DATA names '/nonexistent', which cannot be read"
check_exit 1 "what is no database" "$KVLAB" doctor --db one.yaml
check "is told" has broken results one.yaml
check_exit 2 "an argument is refused" "$KVLAB" doctor now
