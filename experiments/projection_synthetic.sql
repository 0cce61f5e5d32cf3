-- SPDX-License-Identifier: MIT
-- Views of the experiment projection_synthetic. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its setting, with the sharing by the paper's name; ordinal_sharing: in the paper's order.
CREATE VIEW projection_synthetic_setting AS
WITH setting AS (
	SELECT *, json ->> '$.variant.name' || CASE WHEN json ->> '$.variant.plus' THEN '+' ELSE '' END AS variant FROM point
), names (variant, ordinal_sharing, sharing) AS (
	VALUES ('mha', 1, 'QKV'), ('shared_qk', 2, 'Q=K-V'), ('shared_qk+', 3, '(Q=K-V)+'), ('shared_kv', 4, 'Q-K=V'),
		('shared_qkv', 5, 'Q=K=V'), ('shared_qkv+', 6, '(Q=K=V)+')
)
SELECT id AS point_id, json ->> '$.task.map' AS task, json ->> '$.task.length' AS length,
	json ->> '$.model.d_model' AS d_model, json ->> '$.model.n_layer' AS n_layer, json ->> '$.model.n_head' AS n_head,
	ordinal_sharing, sharing
FROM setting JOIN names USING (variant);

-- A row per point: means over its seeds with 95 % t intervals.
CREATE VIEW projection_synthetic AS
SELECT s.task, s.length, s.d_model, s.n_layer, s.n_head, s.sharing, s.ordinal_sharing, t.*
FROM trained_point t CROSS JOIN projection_synthetic_setting s USING (point_id)
WHERE experiment = 'projection_synthetic'
ORDER BY scale, ordinal;

-- A row per task, sharing and seed: accuracy averaged over the grid of that scale, as the papers do; NULL while runs are
-- missing. Task "average": over the five tasks.
CREATE VIEW projection_synthetic_seed AS
WITH each AS (
	SELECT scale, task, sharing, ordinal_sharing, seed,
		CASE WHEN count(accuracy) = count(*) THEN avg(accuracy) END AS accuracy,
		count(*) AS n_point, group_concat(finished_id, ' ') AS run_ids
	FROM trained_run CROSS JOIN projection_synthetic_setting USING (point_id)
	WHERE experiment = 'projection_synthetic'
	GROUP BY scale, task, sharing, seed
)
SELECT * FROM each
UNION ALL
SELECT scale, 'average', sharing, ordinal_sharing, seed, CASE WHEN count(accuracy) = count(*) THEN avg(accuracy) END, sum(n_point),
	group_concat(run_ids, ' ')
FROM each GROUP BY scale, sharing, seed;

-- A row per task and sharing: the mean over seeds of those grid means with its 95 % t interval, and the same of the
-- difference to QKV, seed by seed.
CREATE VIEW projection_synthetic_mean AS
WITH paired AS (
	SELECT a.*, a.accuracy - b.accuracy AS gain
	FROM projection_synthetic_seed a
	LEFT JOIN projection_synthetic_seed b USING (scale, task, seed)
	WHERE b.sharing = 'QKV'
), grouped AS (
	SELECT scale, task, sharing, ordinal_sharing, count(accuracy) AS n_seed, count(*) AS n_planned, max(n_point) AS n_point,
		avg(accuracy) AS accuracy, avg(gain) AS gain,
		sqrt(max(0, sum(accuracy * accuracy) - sum(accuracy) * avg(accuracy)) / (count(accuracy) - 1)) AS sd,
		sqrt(max(0, sum(gain * gain) - sum(gain) * avg(gain)) / (count(gain) - 1)) AS gain_sd,
		group_concat(run_ids, ' ') AS run_ids
	FROM paired GROUP BY scale, task, sharing
)
SELECT scale, task, instr('reverse sort sub swap copy average', task) AS ordinal_task, sharing,
	ordinal_sharing, n_seed, n_planned, n_point, accuracy, sd * q975 / sqrt(n_seed) AS half_width,
	max(0, accuracy - sd * q975 / sqrt(n_seed)) AS accuracy_lo, min(1, accuracy + sd * q975 / sqrt(n_seed)) AS accuracy_hi,
	gain, gain_sd * q975 / sqrt(n_seed) AS gain_half_width, run_ids
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300)
ORDER BY scale, ordinal_task, ordinal_sharing;
