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

-- A row per point and slice: its test loss less QKV's, seed by seed, and what that makes of the perplexity, with 95 % t
-- intervals. `padded` compares with the paper, `packed` with others' work.
CREATE VIEW projection_lm_change AS
WITH loss AS (
	SELECT p.scale, p.seed, p.point_id, s.form, substr(m.split, 6) AS slice, m.value
	FROM planned_run p
	CROSS JOIN projection_lm_setting s ON s.point_id = p.point_id
	CROSS JOIN whole_metric m ON m.run_id = p.finished_id AND m.name = 'loss' AND m.split > 'test ' AND m.split < 'test!'
	WHERE p.experiment = 'projection_lm'
), grouped AS (
	SELECT a.scale, a.point_id, a.slice, count(*) AS n_pair, avg(a.value - b.value) AS gain,
		sqrt(max(0, sum((a.value - b.value) * (a.value - b.value)) - sum(a.value - b.value) * avg(a.value - b.value))
			/ (count(*) - 1)) AS sd
	FROM loss a JOIN loss b ON b.scale = a.scale AND b.seed = a.seed AND b.slice = a.slice AND b.form = 'QKV'
	WHERE a.form <> 'QKV' GROUP BY a.scale, a.point_id, a.slice
)
SELECT scale, point_id, slice, n_pair, gain, sd * q975 / sqrt(n_pair) AS gain_half_width, exp(gain) - 1 AS change,
	exp(gain) * sd * q975 / sqrt(n_pair) AS change_half_width,
	CASE WHEN sd IS NULL THEN NULL WHEN abs(gain) <= sd * q975 / sqrt(n_pair) THEN 'cannot tell'
		WHEN gain < 0 THEN 'better' ELSE 'worse' END AS verdict
FROM grouped LEFT JOIN t_quantile ON df = min(n_pair - 1, 300);

-- A row per point: means over its seeds with 95 % t intervals. padded, packed: test perplexity of documents and of windows;
-- saved: share of QKV's cache bytes; change and verdict: of padded documents, as the paper has it; packed_change: of
-- windows.
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
	1 - t.cache_bytes_per_token / base.cache_bytes_per_token AS saved, t.*, g.change, g.change_half_width, g.verdict,
	h.change AS packed_change, h.change_half_width AS packed_change_half_width
FROM language_point t
CROSS JOIN projection_lm_setting s ON s.point_id = t.point_id
LEFT JOIN base ON base.scale = t.scale
LEFT JOIN slice padded
	ON padded.scale = t.scale AND padded.point_id = t.point_id AND padded.slice = 'documents=padded'
LEFT JOIN slice packed
	ON packed.scale = t.scale AND packed.point_id = t.point_id AND packed.slice = 'documents=packed'
LEFT JOIN projection_lm_change g
	ON g.scale = t.scale AND g.point_id = t.point_id AND g.slice = 'documents=padded'
LEFT JOIN projection_lm_change h
	ON h.scale = t.scale AND h.point_id = t.point_id AND h.slice = 'documents=packed'
WHERE t.experiment = 'projection_lm';
