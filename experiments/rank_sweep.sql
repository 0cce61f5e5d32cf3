-- SPDX-License-Identifier: MIT
-- Views of the experiment rank_sweep. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its panel, factoring, and rank as a share of the key width (all key heads together).
CREATE VIEW rank_sweep_setting AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.model.family' AS family, rtrim(json ->> '$.recover.source', '/') AS source,
		json ->> '$.model.n_kv_head' * (json ->> '$.model.d_head') AS width,
		coalesce(nullif(json ->> '$.recover.d_select', 0), json ->> '$.variant.d_select') AS rank,
		json ->> '$.recover.factor' AS factor, json ->> '$.recover.whiten' AS whiten,
		coalesce(json ->> '$.recover.ranks', 'uniform') AS ranks
	FROM point
)
SELECT point_id,
	-- a model given with MODEL= is called by the last two parts of its path
	CASE WHEN family LIKE 'gpt2-%' THEN 'GPT-2' WHEN family LIKE 'smollm2%' THEN 'SmolLM2'
		WHEN source <> '' THEN substr(source, 1 + length(rtrim(rtrim(rtrim(source, replace(source, '/', '')), '/'),
			replace(source, '/', ''))))
		WHEN family = 'gpt2' THEN 'GPT-2' ELSE 'Llama' END AS panel,
	CASE WHEN rank = width THEN 'whole' ELSE CASE factor WHEN 'key' THEN 'K' WHEN 'query' THEN 'Q' WHEN 'both' THEN 'Q and K'
		WHEN 'product' THEN 'Q K^T per head' ELSE '[K; Q] stacked' END
		|| CASE WHEN whiten THEN ', on text' ELSE '' END
		|| CASE ranks WHEN 'fisher' THEN ', Fisher ranks' WHEN 'energy' THEN ', energy ranks' ELSE '' END END AS factoring,
	rank, width, 1.0 * rank / width AS rank_share,
	-- as the paper's ranks are of 768: the nearest of its shares
	CASE WHEN rank = width THEN '1' WHEN 12 * rank > 7 * width THEN '2/3' WHEN 12 * rank > 5 * width THEN '1/2'
		WHEN 24 * rank > 7 * width THEN '1/3' WHEN 24 * rank > 5 * width THEN '1/4' ELSE '1/6' END AS share
FROM setting;

CREATE VIEW rank_sweep AS
SELECT s.panel, s.factoring, s.rank, s.width, s.rank_share, s.share, t.*
FROM recovered_point t CROSS JOIN rank_sweep_setting s ON s.point_id = t.point_id
WHERE t.experiment = 'rank_sweep';
