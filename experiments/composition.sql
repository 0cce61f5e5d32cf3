-- SPDX-License-Identifier: MIT
-- Views of the experiment composition. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: thin (the rank, of the width of the keys that are left), heads (of those that the model had), types.
CREATE VIEW composition_setting AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.model.n_kv_head' AS n_before, json ->> '$.recover.n_kv_head' AS n_kv_head,
		json ->> '$.model.d_head' AS d_head, json ->> '$.variant.d_select' AS d_select,
		coalesce(json ->> '$.cache.k_dtype', 'f32') AS k_dtype, coalesce(json ->> '$.cache.v_dtype', 'f32') AS v_dtype
	FROM point
)
SELECT point_id, '1/' || cast(round(1.0 * n_kv_head * d_head / coalesce(d_select, n_kv_head * d_head)) AS INTEGER) AS thin,
	'1/' || (n_before / n_kv_head) AS heads, k_dtype, v_dtype
FROM setting;

-- A row per point. Sizes are against the f16 cache of the model as it was, which is what published factors count from.
-- is_front: nothing that takes no more bytes has a lower perplexity.
CREATE VIEW composition AS
WITH sized AS (
	SELECT s.thin, s.heads, s.k_dtype, s.v_dtype, t.*, base_key_bytes / 2 / key_bytes AS keys_smaller,
		base_cache_bytes / 2 / cache_bytes AS cache_smaller
	FROM recovered_point t CROSS JOIN composition_setting s ON s.point_id = t.point_id
	WHERE t.experiment = 'composition'
)
SELECT a.*, NOT EXISTS (
	SELECT 1 FROM sized b WHERE b.scale = a.scale AND b.cache_bytes <= a.cache_bytes AND b.tuned_perplexity < a.tuned_perplexity
) AND tuned_perplexity IS NOT NULL AS is_front
FROM sized a;
