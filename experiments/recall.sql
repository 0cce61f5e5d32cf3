-- SPDX-License-Identifier: MIT
-- Views of the experiment recall. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its setting. design: the variant, with the number of its KV heads where they are fewer.
CREATE VIEW recall_setting AS
SELECT id AS point_id, json ->> '$.variant.name' AS variant,
	json ->> '$.variant.name' || CASE WHEN json ->> '$.variant.name' <> 'mqa'
		AND json ->> '$.model.n_kv_head' < json ->> '$.model.n_head' THEN ' ' || (json ->> '$.model.n_kv_head') ELSE '' END
		AS design,
	json ->> '$.model.n_head' AS n_head, json ->> '$.model.n_kv_head' AS n_kv_head, json ->> '$.model.d_head' AS d_head,
	nullif(json ->> '$.variant.d_latent', 0) AS d_latent, json ->> '$.variant.d_select_per_head' AS d_select_per_head,
	json ->> '$.variant.d_keep' AS d_keep
FROM point;

-- A row per point: means over its seeds with 95 % t intervals.
CREATE VIEW recall AS
SELECT s.variant, s.design, s.n_head, s.n_kv_head, s.d_head, s.d_latent, s.d_select_per_head, s.d_keep, t.*
FROM trained_point t CROSS JOIN recall_setting s USING (point_id)
WHERE experiment = 'recall'
ORDER BY scale, ordinal;

-- A row per point and number of pairs, as above.
CREATE VIEW recall_pairs AS
SELECT s.variant, s.design, cast(substr(t.slice, instr(t.slice, 'n_pair=') + 7) AS integer) AS n_pair, t.*
FROM trained_slice t CROSS JOIN recall_setting s USING (point_id)
WHERE experiment = 'recall'
ORDER BY scale, ordinal, n_pair;
