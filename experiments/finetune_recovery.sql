-- SPDX-License-Identifier: MIT
-- Views of the experiment finetune_recovery. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point. form: what was tuned, the whole model (control), factors, or their dense product that was cut again;
-- tuned: which parameters; share: the rank of the width of keys.
CREATE VIEW finetune_recovery_setting AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.variant.name' AS variant, json ->> '$.recover.train_only' AS names,
		json ->> '$.recover.rank_kept' AS rank_kept,
		json ->> '$.model.n_kv_head' * (json ->> '$.model.d_head') AS width, json ->> '$.variant.d_select' AS d_select
	FROM point
)
SELECT point_id, CASE WHEN variant = 'gqa' THEN 'control' WHEN rank_kept THEN 'factors' ELSE 'dense, cut again' END AS form,
	CASE WHEN names = '' THEN 'all' WHEN names LIKE '% w_o%' THEN 'Q, K and output' ELSE 'Q and K' END AS tuned,
	coalesce(d_select, width) AS rank, width, '1/' || cast(round(1.0 * width / coalesce(d_select, width)) AS INTEGER) AS share
FROM setting;

-- A row per point: before and after; gain and change: after, against the control of the same parameters, seed by seed.
CREATE VIEW finetune_recovery AS
SELECT s.form, s.tuned, s.rank, s.width, s.share, t.*, g.gain, g.gain_half_width, g.change, g.change_half_width, g.verdict
FROM recovered_point t
CROSS JOIN finetune_recovery_setting s ON s.point_id = t.point_id
LEFT JOIN (
	SELECT p.* FROM language_pair p
	JOIN finetune_recovery_setting a ON a.point_id = p.point_id
	JOIN finetune_recovery_setting b ON b.point_id = p.base_id AND b.form = 'control' AND b.tuned = a.tuned
	WHERE p.experiment = 'finetune_recovery' AND p.point_id <> p.base_id
) g ON g.scale = t.scale AND g.point_id = t.point_id
WHERE t.experiment = 'finetune_recovery';

-- Validation loss along the tuning, by tokens.
CREATE VIEW finetune_recovery_curve AS
SELECT l.scale, l.ordinal, s.form, s.tuned, s.share, l.step, n.mean AS n_token, l.mean AS loss, l.half_width, l.n_seed
FROM trained_curve l
JOIN trained_curve n ON n.experiment = l.experiment AND n.scale = l.scale AND n.point_id = l.point_id AND n.step = l.step
	AND n.name = 'n_tuned_token' AND n.split = 'validation'
JOIN finetune_recovery_setting s ON s.point_id = l.point_id
WHERE l.experiment = 'finetune_recovery' AND l.name = 'loss' AND l.split = 'validation';
