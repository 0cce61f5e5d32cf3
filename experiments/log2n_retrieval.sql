-- SPDX-License-Identifier: MIT
-- Views of the experiment log2n_retrieval. Each row belongs to one scale: filter with `where scale = 'small'`.
-- The joins are CROSS JOINs to keep their order: plan's own index then brings the rows point by point and seed by seed,
-- so that nothing is sorted and sums come out the same, bit for bit, whatever was run first.

-- A row per point: its setting.
CREATE VIEW log2n_retrieval_setting AS
SELECT id AS point_id,
	json ->> '$.model.n_layer' AS n_layer,
	json ->> '$.model.n_head' AS n_head,
	json ->> '$.task.n_key' AS n_key,
	coalesce(nullif(json ->> '$.task.n_pair', 0), min(8, json ->> '$.task.n_key')) AS n_pair, -- 0: follows n_key
	-- thin_keys gives the width in total or per head (the other is 0); other variants use d_model
	coalesce(nullif(json ->> '$.variant.d_select', 0),
		nullif(json ->> '$.variant.d_select_per_head', 0) * (json ->> '$.model.n_head'),
		json ->> '$.model.d_model') AS d_select
FROM point;

-- A row per planned run, finished or not: its setting and its numbers (NULL where there are none yet).
CREATE VIEW log2n_retrieval_run AS
SELECT p.scale, p.ordinal, p.label, p.seed, p.point_id, r.id AS run_id, r.state, s.n_layer, s.n_head, s.n_key, s.n_pair,
	s.d_select, s.d_select / s.n_head AS d_select_per_head,
	r.state IN ('done', 'diverged') AS is_finished, accuracy.value AS accuracy, best.value AS best_accuracy,
	steps.value AS steps_to_converge
FROM experiment e
CROSS JOIN plan p ON p.experiment_id = e.id
CROSS JOIN log2n_retrieval_setting s ON s.point_id = p.point_id
LEFT JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed
-- what a failed or stale run has left does not count
LEFT JOIN metric accuracy INDEXED BY metric_of_run
	ON accuracy.run_id = CASE WHEN r.state IN ('done', 'diverged') THEN r.id END
	AND accuracy.name = 'accuracy' AND accuracy.split = 'test' AND accuracy.step = -1
LEFT JOIN metric best INDEXED BY metric_of_run
	ON best.run_id = CASE WHEN r.state IN ('done', 'diverged') THEN r.id END
	AND best.name = 'best_accuracy' AND best.split = 'validation' AND best.step = -1
LEFT JOIN metric steps INDEXED BY metric_of_run
	ON steps.run_id = CASE WHEN r.state IN ('done', 'diverged') THEN r.id END
	AND steps.name = 'steps_to_converge' AND steps.split = 'validation' AND steps.step = -1
WHERE e.name = 'log2n_retrieval';

-- A row per point: means over its seeds with 95 % t intervals (NULL below two seeds; lo and hi clipped to 0..1), and
-- the median of the steps that the converged seeds took.
CREATE VIEW log2n_retrieval AS
WITH grouped AS (
	SELECT scale, point_id, min(ordinal) AS ordinal, count(*) AS n_planned, count(accuracy) AS n_seed,
		sum(state = 'diverged') AS n_diverged,
		avg(accuracy) AS accuracy,
		sqrt(max(0, sum(accuracy * accuracy) - sum(accuracy) * avg(accuracy)) / (count(accuracy) - 1)) AS sd,
		avg(best_accuracy) AS best_accuracy, count(steps_to_converge) AS n_converged,
		min(steps_to_converge) AS steps_least, max(steps_to_converge) AS steps_most,
		json_group_array(steps_to_converge) AS steps,
		group_concat(CASE WHEN is_finished THEN run_id END, ' ') AS run_ids
	FROM log2n_retrieval_run -- the setting is joined below: reading its JSON once per run takes as long as all the rest
	GROUP BY scale, point_id
)
SELECT scale, n_layer, n_head, n_key, n_pair, d_select, d_select / n_head AS d_select_per_head, n_planned, n_seed,
	n_diverged, accuracy,
	sd * q975 / sqrt(n_seed) AS accuracy_half_width,
	max(0, accuracy - sd * q975 / sqrt(n_seed)) AS accuracy_lo,
	min(1, accuracy + sd * q975 / sqrt(n_seed)) AS accuracy_hi,
	best_accuracy,
	-- the middle one, or the mean of the two in the middle
	(SELECT avg(value) FROM (SELECT value, row_number() OVER (ORDER BY value) AS rank FROM json_each(steps)
		WHERE value IS NOT NULL) WHERE rank IN ((n_converged + 1) / 2, (n_converged + 2) / 2)) AS steps_to_converge,
	steps_least, steps_most, n_converged, run_ids
FROM grouped CROSS JOIN log2n_retrieval_setting USING (point_id) LEFT JOIN t_quantile ON df = min(n_seed - 1, 300)
ORDER BY scale, ordinal;

-- A row per setting and seed: the least d_select_per_head of the grid with a test accuracy of 0.99 or more; NULL when no
-- width has it (is_censored), or while runs of the row are unfinished. n_gap: how many wider ones do not have it. A
-- wider head can do what a thinner one does, so they failed to train within the steps. A diverged run counts as one
-- that does not reach it. fit: the line of log2n_retrieval_fit at this n_key.
CREATE VIEW log2n_retrieval_minimum AS
WITH setting AS MATERIALIZED (
	-- one number instead of four columns to group 100,000 runs by
	SELECT *, d_select / n_head AS width, dense_rank() OVER (ORDER BY n_layer, n_head, n_key, n_pair) AS setting
	FROM log2n_retrieval_setting
	-- the + keeps the planner from thinking this so small a table that it needs no index
	WHERE +point_id IN (SELECT point_id FROM plan JOIN experiment e ON e.id = experiment_id AND e.name = 'log2n_retrieval')
), grouped AS MATERIALIZED (
	SELECT p.scale, min(p.ordinal) AS ordinal, n_layer, n_head, n_key, n_pair, p.seed, count(*) AS n_width,
		sum(r.state IN ('done', 'diverged')) AS n_finished, sum(a.value >= 0.99) AS n_reached,
		min(CASE WHEN a.value >= 0.99 THEN width END) AS least, json_group_array(width) AS widths,
		group_concat(CASE WHEN r.state IN ('done', 'diverged') THEN r.id END, ' ') AS run_ids
	FROM experiment e
	CROSS JOIN plan p ON p.experiment_id = e.id
	CROSS JOIN setting s ON s.point_id = p.point_id
	LEFT JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed
	LEFT JOIN metric a INDEXED BY metric_of_run ON a.run_id = CASE WHEN r.state = 'done' THEN r.id END
		AND a.name = 'accuracy' AND a.split = 'test' AND a.step = -1
	WHERE e.name = 'log2n_retrieval'
	GROUP BY p.scale, s.setting, p.seed
), found AS (
	SELECT *, log2(n_key) AS x, CASE WHEN n_finished = n_width THEN least END AS y,
		(SELECT count(*) FROM json_each(widths) WHERE value > least) AS n_wider
	FROM grouped
), centred AS (
	SELECT *, avg(CASE WHEN y IS NOT NULL THEN x END) OVER heads AS x_mean, avg(y) OVER heads AS y_mean
	FROM found WINDOW heads AS (PARTITION BY scale, n_layer, n_head)
)
SELECT scale, n_layer, n_head, n_key, n_pair, seed, n_width, n_finished, x AS log2_n_key, y AS minimum,
	CASE WHEN y IS NOT NULL THEN n_wider - (n_reached - 1) END AS n_gap,
	n_finished = n_width AND y IS NULL AS is_censored,
	y_mean + (x - x_mean) * sum((x - x_mean) * (y - y_mean)) OVER heads
		/ nullif(sum(CASE WHEN y IS NOT NULL THEN (x - x_mean) * (x - x_mean) END) OVER heads, 0) AS fit,
	run_ids
FROM centred WINDOW heads AS (PARTITION BY scale, n_layer, n_head)
ORDER BY scale, ordinal;

-- A row per head count and range of N: least squares of that minimum against log2 n_key over (n_key, seed), with 95 %
-- half widths, over every N of the grid (from_n_key 0) and over N of 8 or more (from_n_key 8): below 8 a sequence has
-- fewer than 8 pairs, so that the number of keys is not all that changes. Censored and unfinished rows are left out
-- and counted.
CREATE VIEW log2n_retrieval_fits AS
WITH chosen AS (
	SELECT m.*, from_n_key FROM log2n_retrieval_minimum m
	JOIN (SELECT 0 AS from_n_key UNION ALL SELECT 8) ON n_key >= from_n_key
), centred AS (
	SELECT *, avg(CASE WHEN minimum IS NOT NULL THEN log2_n_key END) OVER heads AS x_mean,
		avg(minimum) OVER heads AS y_mean
	FROM chosen WINDOW heads AS (PARTITION BY scale, n_layer, n_head, from_n_key)
), sums AS (
	SELECT scale, n_layer, n_head, from_n_key, count(minimum) AS n, sum(is_censored) AS n_censored,
		sum(n_finished < n_width) AS n_unfinished, x_mean, y_mean,
		sum(CASE WHEN minimum IS NOT NULL THEN (log2_n_key - x_mean) * (log2_n_key - x_mean) END) AS s_xx,
		sum((log2_n_key - x_mean) * (minimum - y_mean)) AS s_xy,
		sum((minimum - y_mean) * (minimum - y_mean)) AS s_yy
	FROM centred
	GROUP BY scale, n_layer, n_head, from_n_key
), fitted AS (
	SELECT *, s_xy / nullif(s_xx, 0) AS slope,
		-- two numbers were fitted; without a third point there is no interval
		CASE WHEN n > 2 THEN sqrt(max(0, s_yy - s_xy * s_xy / nullif(s_xx, 0)) / (n - 2)) END AS residual_sd
	FROM sums
)
SELECT scale, n_layer, n_head, from_n_key, n, n_censored, n_unfinished, slope, y_mean - slope * x_mean AS intercept,
	q975 * residual_sd / sqrt(s_xx) AS slope_half_width,
	q975 * residual_sd * sqrt(1.0 / n + x_mean * x_mean / s_xx) AS intercept_half_width,
	residual_sd, x_mean, s_xx, q975
FROM fitted LEFT JOIN t_quantile ON df = min(n - 2, 300)
ORDER BY scale, n_layer, n_head, from_n_key;

-- The same over every N: the line of the plot and of the column `fit` of log2n_retrieval_minimum.
CREATE VIEW log2n_retrieval_fit AS SELECT * FROM log2n_retrieval_fits WHERE from_n_key = 0;
