-- SPDX-License-Identifier: MIT
-- Views of the experiment thin_keys_lm. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its panel, and its form with ratios, so that scales of other widths can stand beside the paper.
-- share: d_select of d_model. n_cached: numbers per token and layer.
CREATE VIEW thin_keys_lm_setting AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.model.family' AS family, json ->> '$.variant.name' AS variant,
		json ->> '$.model.d_model' AS d_model, json ->> '$.model.n_layer' AS n_layer, json ->> '$.model.n_head' AS n_head,
		json ->> '$.model.n_kv_head' AS n_kv_head, json ->> '$.model.d_head' AS d_head,
		coalesce(nullif(json ->> '$.variant.d_select', 0), json ->> '$.model.d_model') AS d_select,
		json ->> '$.variant.d_latent' AS d_latent
	FROM point
)
SELECT point_id, CASE family WHEN 'gpt2' THEN 'Table 14' ELSE 'Table 17' END AS panel, variant, d_select,
	CASE variant WHEN 'mha' THEN 'MHA' WHEN 'thin_keys' THEN 'thin 1/' || (d_model / d_select)
		WHEN 'gqa' THEN 'GQA 1/' || (n_head / n_kv_head)
		ELSE 'MLA ' || CASE WHEN d_latent = d_model THEN '1' ELSE '2/3' END END AS form,
	'1/' || (d_model / d_select) AS share, 1.0 * d_select / d_model AS share_number,
	n_layer * 2 * (d_model * d_select + d_select) AS q_k_params,
	CASE variant WHEN 'mla' THEN d_latent ELSE n_kv_head * d_head + n_kv_head * (d_select / n_head) END AS n_cached
FROM setting;

-- A row per point: means over its seeds with 95 % t intervals; gain and change: against MHA of its panel, seed by seed.
CREATE VIEW thin_keys_lm AS
SELECT s.panel, s.form, s.share, s.share_number, s.q_k_params, s.n_cached, t.*, g.gain, g.gain_half_width, g.change,
	g.change_half_width, g.verdict
FROM language_point t
CROSS JOIN thin_keys_lm_setting s ON s.point_id = t.point_id
LEFT JOIN (
	SELECT a.panel, p.* FROM language_pair p
	JOIN thin_keys_lm_setting a ON a.point_id = p.point_id
	JOIN thin_keys_lm_setting b ON b.point_id = p.base_id AND b.variant = 'mha' AND b.panel = a.panel
	WHERE p.experiment = 'thin_keys_lm' AND p.point_id <> p.base_id
) g ON g.scale = t.scale AND g.point_id = t.point_id
WHERE t.experiment = 'thin_keys_lm';
