-- SPDX-License-Identifier: MIT
-- Views of the experiment char_lm. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: the form by the paper's name.
CREATE VIEW char_lm_setting AS
SELECT id AS point_id, CASE WHEN json ->> '$.variant.name' = 'mha' THEN 'qkv'
	WHEN json ->> '$.variant.plus' THEN 'kv+pos' ELSE 'kv' END AS form
FROM point;

-- A row per point: means over its seeds with 95 % t intervals; gain: test loss minus that of qkv, seed by seed.
CREATE VIEW char_lm AS
SELECT s.form, t.*, g.gain, g.gain_half_width, g.verdict
FROM language_point t
CROSS JOIN char_lm_setting s ON s.point_id = t.point_id
LEFT JOIN (
	SELECT p.* FROM language_pair p JOIN char_lm_setting b ON b.point_id = p.base_id AND b.form = 'qkv'
	WHERE p.experiment = 'char_lm' AND p.point_id <> p.base_id
) g ON g.scale = t.scale AND g.point_id = t.point_id
WHERE t.experiment = 'char_lm';
