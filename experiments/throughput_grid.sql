-- SPDX-License-Identifier: MIT
-- The view of the experiment throughput_grid. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its shape and design by the papers' names, what was counted and what was measured (NULL where the point
-- is missing or failed). `kind`: the design under one name over all shapes. Raw timings are in `sample`, by run_id.
CREATE VIEW throughput_grid AS
WITH point_of AS (
	SELECT p.scale, p.ordinal, p.finished_id AS run_id, p.state, json ->> '$.model.family' AS shape,
		json ->> '$.model.n_layer' AS n_layer, json ->> '$.variant.name' AS variant, json ->> '$.model.n_head' AS n_head,
		json ->> '$.model.n_kv_head' AS n_kv_head, json ->> '$.model.d_head' AS d_head,
		json ->> '$.variant.d_select_per_head' AS d_key, json ->> '$.decode.context' AS context,
		json ->> '$.decode.batch' AS batch, json ->> '$.decode.weight_dtype' AS weight_dtype,
		coalesce(json ->> '$.cache.v_dtype', 'f32') AS cache_dtype
	FROM planned_run p CROSS JOIN point ON point.id = p.point_id
	WHERE experiment = 'throughput_grid'
), number AS (
	SELECT p.*, m.name, m.value FROM point_of p LEFT JOIN whole_metric m ON m.run_id = p.run_id
)
SELECT scale, ordinal, run_id, state, shape, n_layer, variant, n_head, n_kv_head, d_key, context, batch, weight_dtype,
	cache_dtype,
	CASE variant WHEN 'mha' THEN 'MHA' WHEN 'gqa' THEN 'GQA-' || n_kv_head WHEN 'mqa' THEN 'MQA' WHEN 'mla' THEN 'MLA'
		WHEN 'shared_kv' THEN 'Q-K=V' WHEN 'thin_keys' THEN 'thin d/' || (d_head / d_key) ELSE variant END AS design,
	CASE WHEN variant IN ('mha', 'gqa') THEN 'published' WHEN variant = 'thin_keys' THEN 'thin-d/' || (d_head / d_key)
		ELSE variant END AS kind,
	max(value) FILTER (WHERE name = 'weight_read_bytes') AS weight_read_bytes,
	max(value) FILTER (WHERE name = 'cache_read_bytes') AS cache_read_bytes,
	max(value) FILTER (WHERE name = 'bytes_per_token') AS bytes_per_token,
	max(value) FILTER (WHERE name = 'ceiling') AS ceiling,
	max(value) FILTER (WHERE name = 'ceiling_weights') AS ceiling_weights,
	max(value) FILTER (WHERE name = 'gate_error') AS gate_error,
	max(value) FILTER (WHERE name = 'step_s') AS step_s,
	max(value) FILTER (WHERE name = 'step_s_lo') AS step_s_lo,
	max(value) FILTER (WHERE name = 'step_s_hi') AS step_s_hi,
	max(value) FILTER (WHERE name = 'reference_s') AS reference_s,
	max(value) FILTER (WHERE name = 'n_sample') AS n_sample,
	max(value) FILTER (WHERE name = 'is_reached') AS is_reached,
	max(value) FILTER (WHERE name = 'tok_s') AS tok_s,
	max(value) FILTER (WHERE name = 'token_ms') AS token_ms,
	max(value) FILTER (WHERE name = 'prefill_tok_s') AS prefill_tok_s,
	max(value) FILTER (WHERE name = 'first_token_s') AS first_token_s,
	max(value) FILTER (WHERE name = 'bandwidth_bytes_s') AS bandwidth_bytes_s,
	max(value) FILTER (WHERE name = 'bandwidth_share') AS bandwidth_share,
	max(value) FILTER (WHERE name = 'gain') AS gain,
	max(value) FILTER (WHERE name = 'gain_lo') AS gain_lo,
	max(value) FILTER (WHERE name = 'gain_hi') AS gain_hi,
	CASE max(value) FILTER (WHERE name = 'verdict')
		WHEN 0 THEN 'faster' WHEN 1 THEN 'slower' WHEN 2 THEN 'same' WHEN 3 THEN 'cannot tell' ELSE '-' END AS verdict,
	max(value) FILTER (WHERE name = 'is_busy') AS is_busy,
	max(value) FILTER (WHERE name = 'peak_bytes') AS peak_bytes
FROM number
GROUP BY scale, ordinal
ORDER BY scale, ordinal;
