-- SPDX-License-Identifier: MIT
-- Views of the experiment keyless_lm. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: the form, and the shape by the paper's name.
CREATE VIEW keyless_lm_setting AS
SELECT id AS point_id, CASE json ->> '$.variant.name' WHEN 'keyless' THEN 'keyless' ELSE 'QKV' END AS form,
	CASE json ->> '$.model.family' WHEN 'gpt2-280m' THEN 'GPT-2 280M' WHEN 'gpt2-557m' THEN 'GPT-2 557M'
		WHEN 'pythia-410m' THEN 'Pythia 410M' WHEN 'qwen2-1.5b' THEN 'Qwen2 1.5B' WHEN 'llama-3.2-1b' THEN 'Llama 3.2 1B'
		END AS shape
FROM point;

-- A row per point: means over its seeds with 95 % t intervals; gain and change: against QKV of its shape, seed by seed.
CREATE VIEW keyless_lm AS
SELECT s.form, s.shape, t.*, g.gain, g.gain_half_width, g.change, g.change_half_width, g.verdict
FROM language_point t
CROSS JOIN keyless_lm_setting s ON s.point_id = t.point_id
LEFT JOIN (
	SELECT p.* FROM language_pair p
	JOIN keyless_lm_setting a ON a.point_id = p.point_id
	JOIN keyless_lm_setting b ON b.point_id = p.base_id AND b.form = 'QKV' AND b.shape = a.shape
	WHERE p.experiment = 'keyless_lm' AND p.point_id <> p.base_id
) g ON g.scale = t.scale AND g.point_id = t.point_id
WHERE t.experiment = 'keyless_lm';
