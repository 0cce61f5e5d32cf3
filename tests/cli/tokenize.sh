# SPDX-License-Identifier: MIT
# kvlab tokenize: text to ids and back through files and pipes; what is wrong is told in a line, and nothing is printed.
. "$TOP/tests/lib.sh"

own=$TOP/tests/fixtures/tokenizers

refused()
{
	local name=$1 pattern=$2
	shift 2
	check_exit 2 "$name: exit 2" "$KVLAB" tokenize "$@"
	cp stderr output
	check "$name: one line, nothing on stdout" test "$(wc -l <stderr)" = 1 -a ! -s stdout
	check "$name: says what and where" grep -Eq "$pattern" stderr
}

back_and_forth() # MODEL FILE
{
	"$KVLAB" tokenize "$1" "$2" --exact >ids && "$KVLAB" tokenize "$1" ids --decode >text && cmp text "$2" &&
		"$KVLAB" tokenize "$1" --exact - <"$2" | "$KVLAB" tokenize --decode "$1" - | cmp - "$2"
}

printf 'The cache keeps the keys.\n\tIt%ss  small:\r\n \xc3\xa9 e\xcc\x81 \xe6\xbc\xa2 \xff\xfe\x00\x80 12345 <|endoftext|>\n' "'" >any
: >empty
for model in gpt2.json gpt_neox.json qwen2 llama3.json smollm.json options.json scored.bin; do
	check "$model: any bytes come back" back_and_forth "$own/$model" any
	check "$model: nothing comes back as nothing" back_and_forth "$own/$model" empty
	"$KVLAB" tokenize "$own/$model" any >ids
	check "$model: counts what it prints" test "$("$KVLAB" tokenize "$own/$model" any --count)" = "$(wc -w <ids)"
done

first=$(sed -n 's/^llama3.json 1 613c7c656e646f66746578747c3e62203c7c656e646f66746578747c3e2063 //p' "$own/goldens.txt")
printf 'a<|endoftext|>b <|endoftext|> c' >control
check "control tokens are recognised with --special" test "$("$KVLAB" tokenize "$own/llama3.json" control --special)" = "$first"
check "the golden is there" test -n "$first"
check "and only with it" test "$("$KVLAB" tokenize "$own/llama3.json" control)" != "$first"
check "--template puts its token before the text" \
	test "$("$KVLAB" tokenize "$own/llama3.json" control --special --template)" = "0 $first"
check "commas are fine, control tokens can be left out" test \
	"$(echo "0, ${first// /,}" | "$KVLAB" tokenize "$own/llama3.json" - --decode --no-special)" = "ab  c"
check "--decode --count counts bytes" test "$("$KVLAB" tokenize "$own/llama3.json" <(echo "$first") --decode --count)" = 31

"$KVLAB" tokenize "$own/gpt2.json" any >ids
echo 100000 >>ids
refused "an id out of range" '^kvlab: ids: place [0-9]+: no token has the id 100000 \(the largest is [0-9]+\)$' "$own/gpt2.json" ids --decode
echo "1 2 -3" >ids
refused "a negative id" "ids: place 3: '-3' is no id" "$own/gpt2.json" ids --decode
echo "1 2x" >ids
refused "a word" "ids: place 2: '2x' is no id" "$own/gpt2.json" ids --decode
echo 99999999999999999999999 >ids
refused "a long number" "ids: place 1: no token has the id" "$own/gpt2.json" ids --decode
refused "no such model" "nowhere: cannot be opened" nowhere any
refused "no such text" "nowhere: cannot be opened" "$own/gpt2.json" nowhere
refused "a folder as text" "cannot be read: Is a directory" "$own/gpt2.json" .
refused "a folder without tokenizer" "no tokenizer in this folder" . any
refused "a text as tokenizer" "any:1:.*: is not JSON" any any
refused "a mistaken direction" "'--special' does not go with --decode" "$own/gpt2.json" ids --decode --special
refused "the other mistaken direction" "'--no-special' goes with --decode" "$own/gpt2.json" any --no-special
mkdir parts
cp "$own/qwen2/vocab.json" "$own/qwen2/merges.txt" parts
refused "no family" "parts: .*name the family" parts any
refused "an unknown family" "'gpt4' is not known" parts any --family gpt4
check_exit 0 "a family named" "$KVLAB" tokenize parts any --family qwen2
"$KVLAB" tokenize "$own/qwen2" any >ids
check "is the family that the folder names" cmp stdout ids
echo 'th e' >>parts/merges.txt
sed -i 's/"the"/"teh"/' parts/vocab.json
refused "a merge without tokens" "parts/merges.txt: line [0-9]+: merge of" parts any --family qwen2
