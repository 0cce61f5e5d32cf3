-- SPDX-License-Identifier: MIT
-- Views of the experiment positional_selection. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per planned run, finished or not: its setting and its numbers (NULL where there are none yet).
CREATE VIEW positional_selection_run AS
WITH setting AS (
	SELECT p.scale, p.ordinal, p.label, p.seed, p.point_id, r.id AS run_id, r.state,
		o.json ->> '$.model.n_layer' AS n_layer,
		o.json ->> '$.model.n_head' AS n_head,
		-- thin_keys gives the width in total or per head (the other is 0); other variants use d_model
		coalesce(nullif(o.json ->> '$.variant.d_select', 0),
			nullif(o.json ->> '$.variant.d_select_per_head', 0) * (o.json ->> '$.model.n_head'),
			o.json ->> '$.model.d_model') AS d_select
	FROM experiment e
	JOIN plan p ON p.experiment_id = e.id
	JOIN point o ON o.id = p.point_id
	LEFT JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed
	WHERE e.name = 'positional_selection'
)
SELECT scale, ordinal, label, seed, point_id, run_id, state, n_layer, n_head, d_select,
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
CREATE VIEW positional_selection AS
WITH grouped AS (
	SELECT scale, point_id, min(ordinal) AS ordinal, n_layer, n_head, d_select, d_select_per_head,
		count(*) AS n_planned, count(accuracy) AS n_seed, sum(state = 'diverged') AS n_diverged,
		avg(accuracy) AS accuracy,
		sqrt(max(0, sum(accuracy * accuracy) - sum(accuracy) * avg(accuracy)) / (count(accuracy) - 1)) AS sd,
		avg(best_accuracy) AS best_accuracy, count(steps_to_converge) AS n_converged,
		min(steps_to_converge) AS steps_least, max(steps_to_converge) AS steps_most,
		json_group_array(steps_to_converge) AS steps,
		group_concat(CASE WHEN is_finished THEN run_id END, ' ') AS run_ids
	FROM (SELECT * FROM positional_selection_run ORDER BY scale, point_id, seed)
	GROUP BY scale, point_id
)
SELECT scale, n_layer, n_head, d_select, d_select_per_head, n_planned, n_seed, n_diverged, accuracy,
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
