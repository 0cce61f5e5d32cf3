-- SPDX-License-Identifier: MIT
-- Views that every experiment can build on (version 3): planned runs with their numbers, and means over seeds. An
-- experiment's own view adds its setting from point.json and picks columns (experiments/README.md has the pattern).
-- Always filter by experiment. Each row belongs to one scale. What a failed or stale run has left does not count.
-- Joins are CROSS JOINs to keep their order: plan's own index then brings the rows point by point and seed by seed, so
-- that nothing is sorted and sums come out the same, bit for bit, whatever was run first.

-- A row per planned run, finished or not. finished_id: run_id where the run has ended with a result, else NULL.
CREATE VIEW planned_run AS
SELECT e.name AS experiment, p.scale, p.ordinal, p.label, p.seed, p.point_id, r.id AS run_id, r.state, r.wall_s,
	CASE WHEN r.state IN ('done', 'diverged') THEN r.id END AS finished_id
FROM experiment e
CROSS JOIN plan p ON p.experiment_id = e.id
LEFT JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed;

-- The numbers of whole runs, by index alone.
CREATE VIEW whole_metric AS
SELECT run_id, name, split, value FROM metric INDEXED BY metric_of_run WHERE step = -1;

-- What procedure train reports, NULL where there is nothing yet.
CREATE VIEW trained_run AS
SELECT p.*, accuracy.value AS accuracy, loss.value AS loss, best.value AS best_accuracy,
	steps.value AS steps_to_converge
FROM planned_run p
LEFT JOIN whole_metric accuracy
	ON accuracy.run_id = finished_id AND accuracy.name = 'accuracy' AND accuracy.split = 'test'
LEFT JOIN whole_metric loss ON loss.run_id = finished_id AND loss.name = 'loss' AND loss.split = 'test'
LEFT JOIN whole_metric best
	ON best.run_id = finished_id AND best.name = 'best_accuracy' AND best.split = 'validation'
LEFT JOIN whole_metric steps
	ON steps.run_id = finished_id AND steps.name = 'steps_to_converge' AND steps.split = 'validation';

-- A row per point: means over its seeds with 95 % t intervals (NULL below two seeds; lo and hi clipped to 0..1), the
-- median of the steps that the converged seeds took, and what is the same for all seeds.
CREATE VIEW trained_point AS
WITH grouped AS (
	SELECT experiment, scale, point_id, min(ordinal) AS ordinal, label, count(*) AS n_planned, count(accuracy) AS n_seed,
		sum(state = 'diverged') AS n_diverged,
		avg(accuracy) AS accuracy,
		sqrt(max(0, sum(accuracy * accuracy) - sum(accuracy) * avg(accuracy)) / (count(accuracy) - 1))
			AS accuracy_sd,
		min(accuracy) AS accuracy_least, max(accuracy) AS accuracy_most,
		avg(loss) AS loss,
		sqrt(max(0, sum(loss * loss) - sum(loss) * avg(loss)) / (count(loss) - 1)) AS loss_sd,
		avg(best_accuracy) AS best_accuracy, count(steps_to_converge) AS n_converged,
		json_group_array(steps_to_converge) AS steps,
		avg(wall_s) AS wall_s, min(finished_id) AS one_id, group_concat(finished_id, ' ') AS run_ids
	FROM trained_run
	GROUP BY experiment, scale, point_id
)
SELECT experiment, scale, point_id, ordinal, label, n_planned, n_seed, n_diverged, accuracy, accuracy_least, accuracy_most,
	accuracy_sd, accuracy_sd * q975 / sqrt(n_seed) AS accuracy_half_width,
	max(0, accuracy - accuracy_sd * q975 / sqrt(n_seed)) AS accuracy_lo,
	min(1, accuracy + accuracy_sd * q975 / sqrt(n_seed)) AS accuracy_hi,
	loss, loss_sd, loss_sd * q975 / sqrt(n_seed) AS loss_half_width, best_accuracy, n_converged,
	-- the middle one, or the mean of the two in the middle
	(SELECT avg(value) FROM (SELECT value, row_number() OVER (ORDER BY value) AS rank FROM json_each(steps)
		WHERE value IS NOT NULL) WHERE rank IN ((n_converged + 1) / 2, (n_converged + 2) / 2)) AS steps_to_converge,
	(SELECT value FROM whole_metric WHERE run_id = one_id AND name = 'chance' AND split = 'count') AS chance,
	(SELECT value FROM whole_metric WHERE run_id = one_id AND name = 'n_param' AND split = 'count') AS n_param,
	(SELECT value FROM whole_metric WHERE run_id = one_id AND name = 'cache_bytes_per_token' AND split = 'count')
		AS cache_bytes_per_token,
	wall_s, run_ids
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300);

-- A row per point and slice of its task ("n_pair=8 length=64"): mean test accuracy over seeds, as above.
CREATE VIEW trained_slice AS
WITH grouped AS (
	SELECT experiment, scale, point_id, min(ordinal) AS ordinal, substr(split, 6) AS slice, count(value) AS n_seed,
		avg(value) AS accuracy,
		sqrt(max(0, sum(value * value) - sum(value) * avg(value)) / (count(value) - 1)) AS sd,
		group_concat(finished_id, ' ') AS run_ids
	FROM planned_run p
	CROSS JOIN whole_metric m ON m.run_id = finished_id AND name = 'accuracy' AND split > 'test ' AND split < 'test!'
	GROUP BY experiment, scale, point_id, split
)
SELECT experiment, scale, point_id, ordinal, slice, n_seed, accuracy, sd * q975 / sqrt(n_seed) AS accuracy_half_width,
	max(0, accuracy - sd * q975 / sqrt(n_seed)) AS accuracy_lo,
	min(1, accuracy + sd * q975 / sqrt(n_seed)) AS accuracy_hi, run_ids
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300);

-- A row per point and number reported along the way (loss or accuracy, of train or validation, at a step): mean over
-- seeds, as above.
CREATE VIEW trained_curve AS
WITH grouped AS (
	SELECT experiment, scale, point_id, min(p.ordinal) AS ordinal, m.name, m.split, m.step, count(value) AS n_seed,
		avg(value) AS mean, sqrt(max(0, sum(value * value) - sum(value) * avg(value)) / (count(value) - 1)) AS sd,
		group_concat(finished_id, ' ') AS run_ids
	FROM planned_run p
	CROSS JOIN metric m ON m.run_id = p.finished_id AND m.step >= 0
	GROUP BY experiment, scale, point_id, m.name, m.split, m.step
)
SELECT experiment, scale, point_id, ordinal, name, split, step, n_seed, mean, sd * q975 / sqrt(n_seed) AS half_width,
	run_ids
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300);
