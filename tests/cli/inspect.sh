# SPDX-License-Identifier: MIT
# kvlab inspect: lists what is there; a broken file is one sentence on stderr, exit 2, nothing on stdout.
. "$TOP/tests/lib.sh"
fixtures=$TOP/tests/fixtures/weights

check_exit 0 "a folder of shards" "$KVLAB" inspect "$fixtures/sharded"
check "counts on the first line" grep -q ': safetensors, 4 tensors, 31 numbers, 91 bytes$' stdout
check "values of config.json" grep -qx '  hidden_size 64' stdout
check "a tensor's type, shape, bytes and hash" grep -qE '^f32 +F32 +\(3, 5\) +60  [0-9a-f]{32}$' stdout

check_exit 0 "the same tensors have the same hash in another file" "$KVLAB" inspect "$fixtures/golden.safetensors"
hash=$("$KVLAB" inspect "$fixtures/sharded" | sed -n 's/^f32 .* //p')
check "hash of f32" grep -qE "^f32 .*  ${hash:-none}\$" stdout

check_exit 0 "without hashes" "$KVLAB" inspect --no-hash "$fixtures/golden.gguf"
check "the line ends with the bytes" grep -qE '^t.Q4_1 +Q4_1 +\(3, 64\) +120$' stdout

# refused NAME FILE SENTENCE
refused()
{
	check_exit 2 "$1 is refused" "$KVLAB" inspect "$2"
	check "$1: one sentence" test "$(cat stderr)" = "kvlab: $2: $3"
	check "$1: nothing on stdout" test ! -s stdout
}
head -c 700 "$fixtures/golden.safetensors" >cut.safetensors
refused "a cut safetensors file" cut.safetensors \
	"tensor 'f64' needs 16 bytes from byte 16 of the data on, which has 20 (truncated?)"
head -c 3000 "$fixtures/golden.gguf" >cut.gguf
refused "a cut GGUF file" cut.gguf \
	"tensor 't.Q6_K' needs 630 bytes from byte 2016 of the data on, which has 2232 (truncated?)"
head -c 50 "$fixtures/corpus/llama2c/own" >cut.bin
refused "a cut llama2.c file" cut.bin \
	"tensor 'tok_embeddings.weight' needs 80 bytes from byte 0 of the data on, which has 22 (truncated?)"
refused "what is not there" absent "cannot be opened: No such file or directory"
mkdir empty
refused "an empty folder" empty \
	"no weights in this folder (model.safetensors, model.safetensors.index.json, or one .gguf or .bin)"
