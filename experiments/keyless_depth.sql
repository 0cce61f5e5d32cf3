-- SPDX-License-Identifier: MIT
-- Views of the experiment keyless_depth. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its setting, with the form by the paper's name and in its order; n_batch: batches an epoch.
CREATE VIEW keyless_depth_setting AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.task.name' AS task, json ->> '$.variant.name' AS variant,
		json ->> '$.train.eval_every' AS n_batch,
		coalesce(json ->> '$.variant.m1', 1) AS m1, json ->> '$.variant.m2' AS m2, json ->> '$.variant.relu' AS relu
	FROM point
)
SELECT point_id, task, n_batch,
	CASE variant WHEN 'mha' THEN 'QKV(' || (m1 + 1) || ')'
		ELSE 'QVV(' || (m1 + m2) || CASE relu WHEN 'none' THEN '' ELSE 'ReLU' END || ')' END AS form,
	10 * (variant = 'keyless') + m1 + coalesce(m2, 0) + coalesce(relu = 'both', 0) AS ordinal_form
FROM setting WHERE variant IN ('mha', 'keyless');

-- A row per planned run: the least validation loss of its epochs, the epoch it was at, and the last epoch's.
CREATE VIEW keyless_depth_run AS
WITH loss AS (
	SELECT r.scale, r.ordinal, r.point_id, r.seed, r.finished_id, m.step, m.value,
		row_number() OVER (PARTITION BY r.scale, r.ordinal ORDER BY m.value, m.step) AS by_loss,
		row_number() OVER (PARTITION BY r.scale, r.ordinal ORDER BY m.step DESC) AS from_end
	FROM planned_run r
	LEFT JOIN metric m ON m.run_id = r.finished_id AND m.name = 'loss' AND m.split = 'validation' AND m.step >= 0
	WHERE r.experiment = 'keyless_depth'
)
SELECT scale, ordinal, point_id, seed, finished_id, max(CASE by_loss WHEN 1 THEN value END) AS best_loss,
	max(CASE by_loss WHEN 1 THEN step END) AS best_step, max(CASE from_end WHEN 1 THEN value END) AS final_loss
FROM loss GROUP BY scale, ordinal;

-- A row per point: means over its seeds with 95 % t intervals; gain: best loss minus that of QKV(2), seed by seed.
CREATE VIEW keyless_depth AS
WITH named AS (
	SELECT * FROM keyless_depth_run CROSS JOIN keyless_depth_setting USING (point_id)
), paired AS (
	SELECT a.*, a.best_loss - b.best_loss AS gain FROM named a
	LEFT JOIN named b ON b.scale = a.scale AND b.task = a.task AND b.seed = a.seed AND b.form = 'QKV(2)'
), grouped AS (
	SELECT scale, point_id, min(ordinal) AS ordinal, task, form, ordinal_form, count(best_loss) AS n_seed,
		count(*) AS n_planned, avg(best_loss) AS best_loss, avg(final_loss) AS final_loss, avg(gain) AS gain,
		avg(best_step / n_batch) AS best_epoch,
		sqrt(max(0, sum(best_loss * best_loss) - sum(best_loss) * avg(best_loss)) / (count(best_loss) - 1)) AS sd,
		sqrt(max(0, sum(final_loss * final_loss) - sum(final_loss) * avg(final_loss)) / (count(final_loss) - 1))
			AS final_sd,
		sqrt(max(0, sum(gain * gain) - sum(gain) * avg(gain)) / (count(gain) - 1)) AS gain_sd,
		group_concat(finished_id, ' ') AS run_ids
	FROM paired GROUP BY scale, point_id
)
SELECT scale, task, form, ordinal_form, n_seed, n_planned, best_loss, sd * q975 / sqrt(n_seed) AS best_half_width, best_epoch,
	final_loss, final_sd * q975 / sqrt(n_seed) AS final_half_width, gain, gain_sd * q975 / sqrt(n_seed) AS gain_half_width,
	CASE WHEN n_seed = n_planned THEN row_number() OVER (PARTITION BY scale, task ORDER BY best_loss) END AS place,
	run_ids, point_id
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300)
ORDER BY scale, task, ordinal_form;
