-- SPDX-License-Identifier: MIT
-- Views of the experiment recall_keyless. Each row belongs to one scale: filter with `where scale = 'small'`.

-- A row per point: its setting and means over its seeds with 95 % t intervals. form: how scores are made; outcome: "solves"
-- when the whole interval is at 0.95 or above, "fails" when it is below, else "cannot tell".
CREATE VIEW recall_keyless AS
WITH setting AS (
	SELECT id AS point_id, json ->> '$.task.name' AS task, json ->> '$.model.n_head' AS n_head,
		json ->> '$.train.steps' / (json ->> '$.train.n_train' / (json ->> '$.train.batch')) AS n_epoch,
		json ->> '$.variant.name' AS variant, json ->> '$.variant.routing' AS routing
	FROM point
)
SELECT s.task, s.n_head, s.n_epoch, s.variant,
	CASE variant WHEN 'mha' THEN 'QKV' WHEN 'shared_kv' THEN 'Q-K=V' WHEN 'keyless' THEN 'keyless, W_R ' || routing END AS form,
	CASE variant WHEN 'mha' THEN 1 WHEN 'shared_kv' THEN 2 ELSE 3 + (routing = 'per_head') END AS ordinal_form,
	CASE WHEN accuracy_lo >= 0.95 THEN 'solves' WHEN accuracy_hi < 0.95 THEN 'fails' WHEN accuracy_lo IS NOT NULL
		THEN 'cannot tell' END AS outcome, t.*
FROM trained_point t CROSS JOIN setting s USING (point_id)
WHERE experiment = 'recall_keyless'
ORDER BY scale, task, ordinal_form, n_head, n_epoch;
