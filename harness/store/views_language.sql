-- SPDX-License-Identifier: MIT
-- Views of language models (version 4): losses in nats per token and perplexities of runs that chose their weights by
-- loss (train: {select: loss}). Built and filtered as the views of version 3 are (views.sql).

-- A row per planned run. validation_loss is that of the tested weights, the least of the run; final_loss that of the last
-- step; loss_error the standard error of test_loss over the sequences of the test set.
CREATE VIEW language_run AS
SELECT p.*, best.value AS validation_loss, at.value AS best_step,
	(SELECT value FROM metric m WHERE m.run_id = finished_id AND m.name = 'loss' AND m.split = 'validation'
		AND m.step >= 0 ORDER BY m.step DESC LIMIT 1) AS final_loss,
	loss.value AS test_loss, error.value AS loss_error, perplexity.value AS perplexity
FROM planned_run p
LEFT JOIN whole_metric best ON best.run_id = finished_id AND best.name = 'best_loss' AND best.split = 'validation'
LEFT JOIN whole_metric at ON at.run_id = finished_id AND at.name = 'best_step' AND at.split = 'validation'
LEFT JOIN whole_metric loss ON loss.run_id = finished_id AND loss.name = 'loss' AND loss.split = 'test'
LEFT JOIN whole_metric error ON error.run_id = finished_id AND error.name = 'loss_error' AND error.split = 'test'
LEFT JOIN whole_metric perplexity
	ON perplexity.run_id = finished_id AND perplexity.name = 'perplexity' AND perplexity.split = 'test';

-- A row per point: means over its seeds with 95 % t intervals (NULL below two seeds). Perplexities are those of the
-- runs, averaged.
CREATE VIEW language_point AS
WITH grouped AS (
	SELECT experiment, scale, point_id, min(ordinal) AS ordinal, label, count(*) AS n_planned, count(test_loss) AS n_seed,
		sum(state = 'diverged') AS n_diverged,
		avg(validation_loss) AS validation_loss, avg(exp(validation_loss)) AS validation_perplexity,
		avg(final_loss) AS final_loss, avg(best_step) AS best_step, avg(test_loss) AS test_loss,
		sqrt(max(0, sum(test_loss * test_loss) - sum(test_loss) * avg(test_loss)) / (count(test_loss) - 1)) AS loss_sd,
		avg(loss_error) AS loss_error, avg(perplexity) AS perplexity,
		sqrt(max(0, sum(perplexity * perplexity) - sum(perplexity) * avg(perplexity)) / (count(perplexity) - 1))
			AS perplexity_sd,
		avg(wall_s) AS wall_s, min(finished_id) AS one_id, group_concat(finished_id, ' ') AS run_ids
	FROM language_run
	GROUP BY experiment, scale, point_id
)
SELECT experiment, scale, point_id, ordinal, label, n_planned, n_seed, n_diverged, validation_loss, validation_perplexity,
	final_loss, best_step, test_loss, loss_sd, loss_sd * q975 / sqrt(n_seed) AS loss_half_width, loss_error, perplexity,
	perplexity_sd * q975 / sqrt(n_seed) AS perplexity_half_width,
	(SELECT value FROM whole_metric WHERE run_id = one_id AND name = 'n_param' AND split = 'count') AS n_param,
	(SELECT value FROM whole_metric WHERE run_id = one_id AND name = 'cache_bytes_per_token' AND split = 'count')
		AS cache_bytes_per_token,
	wall_s, run_ids
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300);

-- A row per two points of an experiment and scale: point_id's test loss less base_id's, seed by seed (same seed, same
-- batches), in nats per token with its 95 % t interval, what that makes of the perplexity (change, a fraction), and
-- whether it is more than the interval. Filter by experiment, and choose the base by a setting.
CREATE VIEW language_pair AS
WITH paired AS (
	SELECT a.experiment, a.scale, a.point_id, b.point_id AS base_id, a.test_loss - b.test_loss AS gain
	FROM language_run a
	JOIN language_run b ON b.experiment = a.experiment AND b.scale = a.scale AND b.seed = a.seed
), grouped AS (
	SELECT experiment, scale, point_id, base_id, count(gain) AS n_pair, avg(gain) AS gain,
		sqrt(max(0, sum(gain * gain) - sum(gain) * avg(gain)) / (count(gain) - 1)) AS sd
	FROM paired GROUP BY experiment, scale, point_id, base_id
)
SELECT experiment, scale, point_id, base_id, n_pair, gain, sd * q975 / sqrt(n_pair) AS gain_half_width,
	exp(gain) - 1 AS change, exp(gain) * sd * q975 / sqrt(n_pair) AS change_half_width,
	CASE WHEN sd IS NULL THEN NULL WHEN abs(gain) <= sd * q975 / sqrt(n_pair) THEN 'cannot tell'
		WHEN gain < 0 THEN 'better' ELSE 'worse' END AS verdict
FROM grouped LEFT JOIN t_quantile ON df = min(n_pair - 1, 300);

-- A row per point and slice of its task ("documents=packed"): mean test perplexity over seeds, as above.
CREATE VIEW language_slice AS
WITH grouped AS (
	SELECT experiment, scale, point_id, min(ordinal) AS ordinal, substr(split, 6) AS slice, count(value) AS n_seed,
		avg(value) AS perplexity,
		sqrt(max(0, sum(value * value) - sum(value) * avg(value)) / (count(value) - 1)) AS sd,
		group_concat(finished_id, ' ') AS run_ids
	FROM planned_run p
	CROSS JOIN whole_metric m
		ON m.run_id = finished_id AND m.name = 'perplexity' AND m.split > 'test ' AND m.split < 'test!'
	GROUP BY experiment, scale, point_id, split
)
SELECT experiment, scale, point_id, ordinal, slice, n_seed, perplexity, sd * q975 / sqrt(n_seed) AS perplexity_half_width,
	run_ids
FROM grouped LEFT JOIN t_quantile ON df = min(n_seed - 1, 300);
