-- SPDX-License-Identifier: MIT
-- Views of the experiment log2n_retrieval. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per planned run, finished or not: its setting and its numbers (NULL where there are none yet).
CREATE VIEW log2n_retrieval_run AS
WITH setting AS (
	SELECT p.scale, p.ordinal, p.label, p.seed, p.point_id, r.id AS run_id, r.state,
		o.json ->> '$.model.n_layer' AS n_layer,
		o.json ->> '$.model.n_head' AS n_head,
		o.json ->> '$.task.n_key' AS n_key,
		coalesce(nullif(o.json ->> '$.task.n_pair', 0), min(8, o.json ->> '$.task.n_key')) AS n_pair, -- 0: follows n_key
		-- thin_keys gives the width in total or per head (the other is 0); other variants use d_model
		coalesce(nullif(o.json ->> '$.variant.d_select', 0),
			nullif(o.json ->> '$.variant.d_select_per_head', 0) * (o.json ->> '$.model.n_head'),
			o.json ->> '$.model.d_model') AS d_select
	FROM experiment e
	JOIN plan p ON p.experiment_id = e.id
	JOIN point o ON o.id = p.point_id
	LEFT JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed
	WHERE e.name = 'log2n_retrieval'
)
SELECT scale, ordinal, label, seed, point_id, run_id, state, n_layer, n_head, n_key, n_pair, d_select,
	d_select / n_head AS d_select_per_head,
	state IN ('done', 'diverged') AS is_finished,
	CASE WHEN state IN ('done', 'diverged') THEN (SELECT value FROM metric m WHERE m.run_id = setting.run_id
		AND m.name = 'accuracy' AND m.split = 'test' AND m.step = -1) END AS accuracy,
	CASE WHEN state IN ('done', 'diverged') THEN (SELECT value FROM metric m WHERE m.run_id = setting.run_id
		AND m.name = 'best_accuracy' AND m.split = 'validation' AND m.step = -1) END AS best_accuracy,
	CASE WHEN state IN ('done', 'diverged') THEN (SELECT value FROM metric m WHERE m.run_id = setting.run_id
		AND m.name = 'steps_to_converge' AND m.split = 'validation' AND m.step = -1) END AS steps_to_converge
FROM setting;

-- A row per point: means over its seeds with 95 % t intervals (NULL below two seeds; lo and hi clipped to 0..1), and
-- the median of the steps that the converged seeds took.
CREATE VIEW log2n_retrieval AS
WITH grouped AS (
	SELECT scale, point_id, min(ordinal) AS ordinal, n_layer, n_head, n_key, n_pair, d_select, d_select_per_head,
		count(*) AS n_planned, count(accuracy) AS n_seed, sum(state = 'diverged') AS n_diverged,
		avg(accuracy) AS accuracy,
		sqrt(max(0, sum(accuracy * accuracy) - sum(accuracy) * avg(accuracy)) / (count(accuracy) - 1)) AS sd,
		avg(best_accuracy) AS best_accuracy, count(steps_to_converge) AS n_converged,
		min(steps_to_converge) AS steps_least, max(steps_to_converge) AS steps_most,
		json_group_array(steps_to_converge) AS steps,
		group_concat(CASE WHEN is_finished THEN run_id END, ' ') AS run_ids
	FROM (SELECT * FROM log2n_retrieval_run ORDER BY scale, point_id, seed)
	GROUP BY scale, point_id
)
SELECT scale, n_layer, n_head, n_key, n_pair, d_select, d_select_per_head, n_planned, n_seed, n_diverged, accuracy,
	sd * q975 / sqrt(n_seed) AS accuracy_half_width,
	max(0, accuracy - sd * q975 / sqrt(n_seed)) AS accuracy_lo,
	min(1, accuracy + sd * q975 / sqrt(n_seed)) AS accuracy_hi,
	best_accuracy,
	-- the middle one, or the mean of the two in the middle
	(SELECT avg(value) FROM (SELECT value, row_number() OVER (ORDER BY value) AS rank FROM json_each(steps)
		WHERE value IS NOT NULL) WHERE rank IN ((n_converged + 1) / 2, (n_converged + 2) / 2)) AS steps_to_converge,
	steps_least, steps_most, n_converged, run_ids
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300)
ORDER BY scale, ordinal;

-- A row per setting and seed: the least d_select_per_head of the grid from which on every wider one reaches a test
-- accuracy of 0.99 too. NULL when the widest does not (is_censored), or while runs of the row are unfinished.
-- A diverged run counts as one that does not reach it.
CREATE VIEW log2n_retrieval_minimum AS
WITH grouped AS (
	SELECT scale, min(ordinal) AS ordinal, n_layer, n_head, n_key, n_pair, seed, count(*) AS n_width,
		sum(is_finished) AS n_finished, json_group_array(d_select_per_head) AS widths,
		max(CASE WHEN accuracy >= 0.99 THEN 0 ELSE d_select_per_head END) AS widest_failure,
		group_concat(CASE WHEN is_finished THEN run_id END, ' ') AS run_ids
	FROM (SELECT * FROM log2n_retrieval_run ORDER BY scale, n_layer, n_head, n_key, n_pair, seed, d_select)
	GROUP BY scale, n_layer, n_head, n_key, n_pair, seed
), found AS (
	SELECT *, CASE WHEN n_finished = n_width THEN (SELECT min(value) FROM json_each(widths) WHERE value > widest_failure)
		END AS minimum
	FROM grouped
)
SELECT scale, n_layer, n_head, n_key, n_pair, seed, n_width, n_finished, log2(n_key) AS log2_n_key, minimum,
	n_finished = n_width AND minimum IS NULL AS is_censored, run_ids
FROM found
ORDER BY scale, ordinal;

-- A row per head count: least squares of that minimum against log2 n_key over (n_key, seed), with 95 % half widths.
-- Censored and unfinished rows are left out and counted.
CREATE VIEW log2n_retrieval_fit AS
WITH centred AS (
	SELECT *, avg(CASE WHEN minimum IS NOT NULL THEN log2_n_key END) OVER (PARTITION BY scale, n_layer, n_head)
			AS x_mean,
		avg(minimum) OVER (PARTITION BY scale, n_layer, n_head) AS y_mean
	FROM log2n_retrieval_minimum
), sums AS (
	SELECT scale, n_layer, n_head, count(minimum) AS n, sum(is_censored) AS n_censored,
		sum(n_finished < n_width) AS n_unfinished, x_mean, y_mean,
		sum(CASE WHEN minimum IS NOT NULL THEN (log2_n_key - x_mean) * (log2_n_key - x_mean) END) AS s_xx,
		sum((log2_n_key - x_mean) * (minimum - y_mean)) AS s_xy,
		sum((minimum - y_mean) * (minimum - y_mean)) AS s_yy
	FROM centred
	GROUP BY scale, n_layer, n_head
), fitted AS (
	SELECT *, s_xy / nullif(s_xx, 0) AS slope,
		-- two numbers were fitted; without a third point there is no interval
		CASE WHEN n > 2 THEN sqrt(max(0, s_yy - s_xy * s_xy / nullif(s_xx, 0)) / (n - 2)) END AS residual_sd
	FROM sums
)
SELECT scale, n_layer, n_head, n, n_censored, n_unfinished, slope, y_mean - slope * x_mean AS intercept,
	q975 * residual_sd / sqrt(s_xx) AS slope_half_width,
	q975 * residual_sd * sqrt(1.0 / n + x_mean * x_mean / s_xx) AS intercept_half_width,
	residual_sd, x_mean, s_xx, q975
FROM fitted LEFT JOIN t_quantile ON df = min(n - 2, 300)
ORDER BY scale, n_layer, n_head;
