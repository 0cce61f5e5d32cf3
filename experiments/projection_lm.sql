-- SPDX-License-Identifier: MIT
-- Views of the experiment projection_lm. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: the form by the paper's name, groups as a ratio so that scales of other head counts can stand beside.
CREATE VIEW projection_lm_setting AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.variant.name' AS variant, json ->> '$.model.n_kv_head' AS n_kv_head,
		(json ->> '$.model.n_head') / (json ->> '$.model.n_kv_head') AS n_group
	FROM point
)
SELECT point_id, CASE variant WHEN 'mha' THEN 'QKV' WHEN 'mqa' THEN 'MQA' WHEN 'gqa' THEN 'GQA 1/' || n_group
	WHEN 'shared_qk' THEN 'Q=K-V' WHEN 'shared_qkv' THEN 'Q=K=V'
	ELSE CASE WHEN n_group = 1 THEN 'Q-K=V' WHEN n_kv_head = 1 THEN 'Q-MQA' ELSE 'Q-GQA 1/' || n_group END END AS form
FROM setting;

-- A row per point: means over its seeds with 95 % t intervals. padded, packed: test perplexity of documents and of windows;
-- saved: share of QKV's cache bytes; gain and change: against QKV, seed by seed.
CREATE VIEW projection_lm AS
WITH base AS (
	SELECT t.scale, t.point_id, t.cache_bytes_per_token FROM language_point t
	CROSS JOIN projection_lm_setting s ON s.point_id = t.point_id AND s.form = 'QKV'
	WHERE t.experiment = 'projection_lm'
), slice AS (
	SELECT * FROM language_slice WHERE experiment = 'projection_lm'
)
SELECT s.form, padded.perplexity AS padded, padded.perplexity_half_width AS padded_half_width,
	packed.perplexity AS packed, packed.perplexity_half_width AS packed_half_width,
	1 - t.cache_bytes_per_token / base.cache_bytes_per_token AS saved, t.*, g.gain, g.gain_half_width, g.change,
	g.change_half_width, g.verdict
FROM language_point t
CROSS JOIN projection_lm_setting s ON s.point_id = t.point_id
LEFT JOIN base ON base.scale = t.scale
LEFT JOIN slice padded
	ON padded.scale = t.scale AND padded.point_id = t.point_id AND padded.slice = 'documents=padded'
LEFT JOIN slice packed
	ON packed.scale = t.scale AND packed.point_id = t.point_id AND packed.slice = 'documents=packed'
LEFT JOIN (SELECT * FROM language_pair WHERE experiment = 'projection_lm') g
	ON g.scale = t.scale AND g.point_id = t.point_id AND g.base_id = base.point_id AND g.base_id <> g.point_id
WHERE t.experiment = 'projection_lm';
