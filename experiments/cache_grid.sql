-- SPDX-License-Identifier: MIT
-- Views of the experiment cache_grid. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its shape, the design by the papers' names, its type and context, what was counted, and what was
-- allocated (NULL where it was only counted). `kind`: the designs that the plot shows, one name over all shapes.
CREATE VIEW cache_grid AS
WITH point_of AS (
	SELECT p.scale, p.ordinal, p.finished_id, json ->> '$.model.family' AS shape, json ->> '$.variant.name' AS variant,
		json ->> '$.model.n_head' AS n_head, json ->> '$.model.n_kv_head' AS n_kv_head,
		json ->> '$.model.d_head' AS d_head, json ->> '$.variant.d_select_per_head' AS d_key,
		json ->> '$.capacity.context' AS context, coalesce(json ->> '$.cache.v_dtype', 'f32') AS dtype
	FROM planned_run p CROSS JOIN point ON point.id = p.point_id
	WHERE experiment = 'cache_grid'
), named AS (
	SELECT *, CASE variant WHEN 'thin_keys' THEN 'thin d/' || (d_head / d_key) WHEN 'keyless' THEN 'keyless' END AS own,
		CASE WHEN n_kv_head < n_head THEN 'GQA-' || n_kv_head END AS grouped
	FROM point_of
), number AS (
	SELECT n.*, m.name, m.value FROM named n LEFT JOIN whole_metric m ON m.run_id = n.finished_id
), wide AS (
	SELECT scale, ordinal, shape, variant, n_head, n_kv_head, context, dtype, finished_id AS run_id,
		CASE variant WHEN 'mha' THEN 'MHA' WHEN 'mqa' THEN 'MQA' WHEN 'mla' THEN 'MLA' WHEN 'shared_qk' THEN 'Q=K-V'
			WHEN 'gqa' THEN grouped
			WHEN 'shared_kv' THEN CASE n_kv_head WHEN n_head THEN 'Q-K=V' WHEN 1 THEN 'Q-MQA' ELSE 'Q-' || grouped END
			ELSE coalesce(grouped || ' + ', '') || own END AS design,
		max(value) FILTER (WHERE name = 'n_param') AS n_param,
		max(value) FILTER (WHERE name = 'weight_bytes') AS weight_bytes,
		max(value) FILTER (WHERE name = 'cache_bytes_per_token') AS bytes_per_token,
		max(value) FILTER (WHERE name = 'key_bytes_per_token') AS key_bytes_per_token,
		max(value) FILTER (WHERE name = 'cache_bytes') AS cache_bytes,
		max(value) FILTER (WHERE name = 'n_user') AS n_user,
		max(value) FILTER (WHERE name = 'longest_context') AS longest_context,
		max(value) FILTER (WHERE name = 'logical_bytes') AS logical_bytes,
		max(value) FILTER (WHERE name = 'mapped_bytes') AS mapped_bytes,
		max(value) FILTER (WHERE name = 'physical_bytes') AS physical_bytes,
		max(value) FILTER (WHERE name = 'peak_bytes') AS peak_bytes
	FROM number
	GROUP BY scale, ordinal
)
-- The first design of a shape is what it was published with; others are held against it.
SELECT *, bytes_per_token / first_value(bytes_per_token) OVER (PARTITION BY scale, shape, dtype, context ORDER BY ordinal)
	AS of_own,
	CASE WHEN ordinal = min(ordinal) OVER (PARTITION BY scale, shape, dtype, context) THEN 'published'
		WHEN design IN ('MQA', 'MLA') THEN design
		WHEN variant = 'thin_keys' AND design LIKE '%thin d/4' AND NOT (shape = 'llama-7b' AND n_kv_head < n_head)
			THEN 'thin-d/4'
		WHEN variant = 'keyless' THEN 'keyless,Q-K=V' END AS kind
FROM wide
ORDER BY scale, ordinal;

-- A row per published row: what the papers print and what we count, in the unit of that table, and whether they agree:
-- to the digits printed, or to 0.2 % (a total summed from rounded parts). saved: against the first design of the table, in per cent.
CREATE VIEW cache_grid_paper AS
WITH paper_table (paper_table, shape, context, unit, digits) AS (
	VALUES ('B 6', 'llama-7b', 131072, 1073741824.0, 1), ('B 10', 'llama-7b', 128000, 1e9, 1),
		('B 10 1M', 'llama-7b', 1000000, 1e9, 0), ('B code', 'mistral-7b', 4096, 1e6, 1),
		('C 7', 'gpt2-300m', 32768, 1.024e9, 2), -- KB of 1,024 bytes times 32,768, taken as 1e-6 GB
		('A 4b 512', 'qwen2-1.5b', 512, 1e9, 4), ('A 4b 2048', 'qwen2-1.5b', 2048, 1e9, 3),
		('A 4b 8192', 'qwen2-1.5b', 8192, 1e9, 3)
), theirs AS (
	SELECT v."table" AS paper_table, v."row" AS design, max(value) FILTER (WHERE "column" = 'K') AS k_paper,
		max(value) FILTER (WHERE "column" = 'V') AS v_paper, max(value) FILTER (WHERE "column" = 'total') AS total_paper,
		max(value) FILTER (WHERE "column" = 'saved') AS saved_paper,
		max(value) FILTER (WHERE "column" = 'per token') AS token_paper
	FROM experiment e JOIN paper_value v ON v.experiment_id = e.id
	WHERE e.name = 'cache_grid'
	GROUP BY v."table", v."row"
), ours AS (
	SELECT g.*, t.paper_table, t.digits, g.context * key_bytes_per_token / unit AS k,
		g.context * (bytes_per_token - key_bytes_per_token) / unit AS v, cache_bytes / unit AS total,
		100 * (1 - cache_bytes / first_value(cache_bytes) OVER (PARTITION BY scale, t.paper_table ORDER BY ordinal)) AS saved
	FROM cache_grid g JOIN paper_table t USING (shape, context)
	WHERE dtype = 'f16'
)
SELECT o.*, k_paper, v_paper, total_paper, saved_paper, token_paper,
	CASE WHEN total IS NULL THEN 'missing'
		WHEN coalesce(round(k, digits) = k_paper, 1) AND coalesce(round(v, digits) = v_paper, 1)
			AND coalesce(round(total, digits) = total_paper, 1)
			AND coalesce(bytes_per_token / 1024 = token_paper, 1) THEN 'to its digits'
		WHEN coalesce(abs(k / k_paper - 1) < 0.002, 1) AND coalesce(abs(v / v_paper - 1) < 0.002, 1)
			AND coalesce(abs(total / total_paper - 1) < 0.002, 1) THEN 'to 0.2 %' ELSE 'no' END AS agrees
FROM ours o JOIN theirs USING (paper_table, design);
