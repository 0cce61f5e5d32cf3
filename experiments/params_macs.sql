-- SPDX-License-Identifier: MIT
-- Views of the experiment params_macs. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its shape, the design by the paper's name, and what was counted.
CREATE VIEW params_macs AS
WITH counted AS (
	SELECT p.*, json ->> '$.model.d_model' AS d_model, json ->> '$.model.n_layer' AS n_layer,
		json ->> '$.model.n_head' AS n_head, json ->> '$.model.n_kv_head' AS n_kv_head,
		json ->> '$.variant.name' AS variant, json ->> '$.model.causal' AS causal,
		json ->> '$.count.n_token' AS n_token, json ->> '$.count.context' AS context,
		(SELECT value FROM whole_metric WHERE run_id = finished_id AND name = 'n_param') AS n_param,
		(SELECT value FROM whole_metric WHERE run_id = finished_id AND name = 'n_param_attention') AS n_param_attention,
		(SELECT value FROM whole_metric WHERE run_id = finished_id AND name = 'macs') AS macs,
		(SELECT value FROM whole_metric WHERE run_id = finished_id AND name = 'flops') AS flops,
		(SELECT value FROM whole_metric WHERE run_id = finished_id AND name = 'cache_bytes_per_token')
			AS cache_bytes_per_token,
		(SELECT value FROM whole_metric WHERE run_id = finished_id AND name = 'cache_bytes') AS cache_bytes
	FROM planned_run p CROSS JOIN point ON point.id = p.point_id
	WHERE experiment = 'params_macs'
)
SELECT scale, ordinal, CASE d_model WHEN 1024 THEN '300M' ELSE '1.2B' END AS model,
	CASE variant WHEN 'mha' THEN 'QKV' WHEN 'shared_qk' THEN 'Q=K-V' WHEN 'shared_qkv' THEN 'Q=K=V' WHEN 'mqa' THEN 'MQA'
		WHEN 'gqa' THEN 'GQA-' || n_kv_head
		ELSE CASE n_kv_head WHEN n_head THEN 'Q-K=V' WHEN 1 THEN 'Q-MQA' ELSE 'Q-GQA-' || n_kv_head END END AS design,
	variant, n_layer, d_model, n_head, n_kv_head, causal, n_token, context, n_param, n_param_attention, macs, flops,
	cache_bytes_per_token, cache_bytes, finished_id AS run_id
FROM counted
ORDER BY scale, ordinal;

-- A row per published number: what the paper prints, what we count, in the paper's unit, and ours to the digits that the
-- paper prints. `published` gives the unit and digits of each column.
CREATE VIEW params_macs_published AS
WITH published (paper_table, "column", metric, unit, digits, n_token) AS (
	VALUES ('5', 'parameters', 'n_param', 1.0, 0, 2048), ('5', 'attention parameters', 'n_param_attention', 1.0, 0, 2048),
		('6', 'GMACs at 2048', 'macs', 1e9, 1, 2048), ('6', 'GMACs at 128', 'macs', 1e9, 2, 128),
		('7', 'KB per token', 'cache_bytes_per_token', 1024.0, 1, 2048),
		('7', 'GB at 32K', 'cache_bytes', 1.024e9, 2, 2048), -- 32,768 times KB of 1,024 bytes, taken as 1e-6 GB
		('10', 'M parameters', 'n_param', 1e6, 0, 2048),
		('10', 'MB at 32K', 'cache_bytes', 1048576.0, 0, 2048)
), ours AS (
	SELECT m.scale, m.ordinal, m.model, m.design, p.paper_table, p."column", p.unit, p.digits, m.run_id, m.causal,
		CASE p.metric WHEN 'n_param' THEN n_param WHEN 'n_param_attention' THEN n_param_attention
			WHEN 'macs' THEN macs WHEN 'cache_bytes_per_token' THEN cache_bytes_per_token ELSE cache_bytes END AS counted
	FROM params_macs m JOIN published p USING (n_token)
	WHERE (p.paper_table = '10') = (m.model = '1.2B')
)
SELECT o.scale, o.ordinal, o.model, o.design, o.paper_table, o."column", o.counted, v.value AS paper,
	round(o.counted / o.unit, o.digits) AS ours, o.digits, o.unit, o.causal, o.run_id
FROM ours o
JOIN experiment e ON e.name = 'params_macs'
LEFT JOIN paper_value v ON v.experiment_id = e.id AND v."table" = o.paper_table AND v."row" = o.design
	AND v."column" = o."column"
ORDER BY o.scale, o.ordinal;
