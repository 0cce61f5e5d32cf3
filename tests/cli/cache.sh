# SPDX-License-Identifier: MIT
# The `cache` section from the spec to the stored numbers: its options are listed, its bytes planned, and what a run
# reports is measured through it.
. "$TOP/tests/lib.sh"

# spec NAME LINE...: a small one, with these lines more.
spec()
{
	local name=$1
	shift
	{
		cat <<-SPEC
			experiment: $name
			question: what do types cost?
			procedure: train
			model: {family: decoder, n_layer: 2, d_model: 64, n_head: 4, d_ff: 32}
			variant: {name: mha}
			task: {name: copy_back, length: 40, n_symbol: 4, lag: 3}
			train: {batch: 8, steps: 10, eval_every: 10, n_validation: 12, n_test: 20}
			seeds: [1]
		SPEC
		printf '%s\n' "$@"
	} >"$name.yaml"
}

# column LABEL N: field N of the point's row in what plan printed.
column()
{
	awk -v label="$1" -v n="$2" '$1 == label { print $n }' stdout
}

check_exit 0 "the options are listed" "$KVLAB" list cache
check "with their choices" grep -q 'k_scales .*token|channel' stdout
check_exit 2 "a misspelt kind is refused" "$KVLAB" list cahce
check "with the right one" grep -q "did you mean 'cache'" stderr

# Two layers of 64 key and 64 value numbers.
spec types 'sweep: {product: {cache.k_dtype: [f32, f16, bf16, q8, q4]}}'
check_exit 0 "types are planned" "$KVLAB" plan ./types.yaml
for row in f32:1024 f16:768 bf16:768 q8:648 q4:592; do
	check "bytes a token with ${row%:*} keys" test "$(column "k_dtype=${row%:*}" 3)" = "${row#*:}"
done
check "no bytes a sequence" bash -c '! grep -q B/sequence stdout'

spec channels 'cache: {k_dtype: q8}' 'sweep: {product: {cache.k_scales: [token, channel]}}'
check_exit 0 "scales per channel are planned" "$KVLAB" plan ./channels.yaml
check "the tail is bytes a sequence, and part of a token's" test "$(column k_scales=channel 3) $(column k_scales=channel 4)" = '1043.69 16384'
check "which scales per token have none of" test "$(column k_scales=token 3) $(column k_scales=token 4)" = '648 0'

spec refused 'cache: {k_dtype: bf16, k_scales: channel}'
check_exit 2 "scales per channel need a quantised type" "$KVLAB" plan ./refused.yaml
check "and say so with their place" grep -qF \
	'./refused.yaml:9:34: k_scales: channel needs k_dtype q8 or q4, not bf16 (or set k_scales: token)' stderr

# Training has no cache, evaluation has: the same weights, read through other types, have another loss.
spec measured 'sweep: {product: {cache.v_dtype: [f32, q8, q4]}}'
check "all types are run" "$KVLAB" run ./measured.yaml --db results/m.db
metric() # name, split, type as in the point's JSON
{
	sqlite3 results/m.db "SELECT m.value FROM metric m JOIN run r ON r.id = m.run_id JOIN point p ON p.id = r.point_id
		WHERE m.name = '$1' AND m.split = '$2' AND coalesce(json_extract(p.json, '\$.cache.v_dtype'), 'f32') = '$3'
		ORDER BY m.step LIMIT 1"
}
check "weights are trained alike" test "$(metric loss train f32)" = "$(metric loss train q4)"
off() # type: how far its loss is from f32's
{
	awk "BEGIN { d = $(metric loss test "$1") - $(metric loss test f32); printf \"%.9f\", d < 0 ? -d : d }"
}
echo "# test loss $(metric loss test f32); off by $(off q8) in q8, by $(off q4) in q4"
check "what is reported is measured through the cache" awk "BEGIN { exit !($(off q8) > 0 && $(off q4) > 0) }"
check "and small" awk "BEGIN { exit !($(off q4) < 0.1) }"
check "bytes are stored" test "$(metric cache_bytes_per_token count q4)" = 592.0
for run in 1 2 3; do
	check "run $run is reproduced bit for bit" "$KVLAB" reproduce $run --db results/m.db
done
