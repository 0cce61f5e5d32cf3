-- SPDX-License-Identifier: MIT
-- A row per point and scale: its widths, means over its seeds, and the range of the steps that the converged ones took.
CREATE VIEW positional_selection AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.model.n_layer' AS n_layer, json ->> '$.model.n_head' AS n_head,
		-- thin_keys gives the width in total or per head (the other is 0); other variants use d_model
		coalesce(nullif(json ->> '$.variant.d_select', 0),
			nullif(json ->> '$.variant.d_select_per_head', 0) * (json ->> '$.model.n_head'),
			json ->> '$.model.d_model') AS d_select
	FROM point
), steps AS (
	SELECT scale, point_id, min(steps_to_converge) AS steps_least, max(steps_to_converge) AS steps_most
	FROM trained_run WHERE experiment = 'positional_selection' GROUP BY scale, point_id
)
SELECT n_layer, n_head, d_select, d_select / n_head AS d_select_per_head, t.*, steps_least, steps_most
FROM trained_point t
CROSS JOIN setting USING (point_id)
LEFT JOIN steps USING (scale, point_id)
WHERE experiment = 'positional_selection'
ORDER BY scale, ordinal;
