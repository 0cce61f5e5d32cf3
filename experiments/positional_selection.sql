-- SPDX-License-Identifier: MIT
-- Views of the experiment positional_selection. Each row belongs to one scale: filter with `where scale = 'small'`.
-- The joins are CROSS JOINs to keep their order: plan's own index then brings the rows point by point and seed by seed,
-- so that nothing is sorted and sums come out the same, bit for bit, whatever was run first.

-- A row per point: its setting.
CREATE VIEW positional_selection_setting AS
SELECT id AS point_id,
	json ->> '$.model.n_layer' AS n_layer,
	json ->> '$.model.n_head' AS n_head,
	-- thin_keys gives the width in total or per head (the other is 0); other variants use d_model
	coalesce(nullif(json ->> '$.variant.d_select', 0),
		nullif(json ->> '$.variant.d_select_per_head', 0) * (json ->> '$.model.n_head'),
		json ->> '$.model.d_model') AS d_select
FROM point;

-- A row per planned run, finished or not: its setting and its numbers (NULL where there are none yet).
CREATE VIEW positional_selection_run AS
SELECT p.scale, p.ordinal, p.label, p.seed, p.point_id, r.id AS run_id, r.state, s.n_layer, s.n_head,
	s.d_select, s.d_select / s.n_head AS d_select_per_head,
	r.state IN ('done', 'diverged') AS is_finished, accuracy.value AS accuracy, best.value AS best_accuracy,
	steps.value AS steps_to_converge
FROM experiment e
CROSS JOIN plan p ON p.experiment_id = e.id
CROSS JOIN positional_selection_setting s ON s.point_id = p.point_id
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
WHERE e.name = 'positional_selection';

-- A row per point: means over its seeds with 95 % t intervals (NULL below two seeds; lo and hi clipped to 0..1), and
-- the median of the steps that the converged seeds took.
CREATE VIEW positional_selection AS
WITH grouped AS (
	SELECT scale, point_id, min(ordinal) AS ordinal, count(*) AS n_planned, count(accuracy) AS n_seed,
		sum(state = 'diverged') AS n_diverged,
		avg(accuracy) AS accuracy,
		sqrt(max(0, sum(accuracy * accuracy) - sum(accuracy) * avg(accuracy)) / (count(accuracy) - 1)) AS sd,
		avg(best_accuracy) AS best_accuracy, count(steps_to_converge) AS n_converged,
		min(steps_to_converge) AS steps_least, max(steps_to_converge) AS steps_most,
		json_group_array(steps_to_converge) AS steps,
		group_concat(CASE WHEN is_finished THEN run_id END, ' ') AS run_ids
	FROM positional_selection_run -- the setting is joined below: reading its JSON once per run takes as long as all the rest
	GROUP BY scale, point_id
)
SELECT scale, n_layer, n_head, d_select, d_select / n_head AS d_select_per_head, n_planned, n_seed,
	n_diverged, accuracy,
	sd * q975 / sqrt(n_seed) AS accuracy_half_width,
	max(0, accuracy - sd * q975 / sqrt(n_seed)) AS accuracy_lo,
	min(1, accuracy + sd * q975 / sqrt(n_seed)) AS accuracy_hi,
	best_accuracy,
	-- the middle one, or the mean of the two in the middle
	(SELECT avg(value) FROM (SELECT value, row_number() OVER (ORDER BY value) AS rank FROM json_each(steps)
		WHERE value IS NOT NULL) WHERE rank IN ((n_converged + 1) / 2, (n_converged + 2) / 2)) AS steps_to_converge,
	steps_least, steps_most, n_converged, run_ids
FROM grouped CROSS JOIN positional_selection_setting USING (point_id) LEFT JOIN t_quantile ON df = min(n_seed - 1, 300)
ORDER BY scale, ordinal;
