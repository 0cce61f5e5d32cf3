-- SPDX-License-Identifier: MIT
-- Views of trained models that were compressed, procedure recover (version 5). Perplexities of the same test text at
-- every stage: base (as it was), converted (compressed, not tuned), dense (rank_kept: false: tuned, before it is cut
-- again), tuned. Bytes are per token, over all layers; shares are of the base's cache in f32, so that a type counts too.

-- A row per planned run, NULL where there is nothing yet. change: a stage's perplexity against the base's, a fraction;
-- its error is that of the difference on the same tokens.
CREATE VIEW recovered_run AS
WITH pivot AS (
	SELECT p.*,
		max(value) FILTER (WHERE m.name = 'perplexity' AND split = 'base') AS base_perplexity,
		max(value) FILTER (WHERE m.name = 'loss_error' AND split = 'base') AS base_error,
		max(value) FILTER (WHERE m.name = 'perplexity' AND split = 'converted') AS converted_perplexity,
		max(value) FILTER (WHERE m.name = 'excess' AND split = 'converted') AS converted_excess,
		max(value) FILTER (WHERE m.name = 'excess_error' AND split = 'converted') AS converted_excess_error,
		max(value) FILTER (WHERE m.name = 'kl' AND split = 'converted') AS kl,
		max(value) FILTER (WHERE m.name = 'kl_error' AND split = 'converted') AS kl_error,
		max(value) FILTER (WHERE m.name = 'agreement' AND split = 'converted') AS agreement,
		max(value) FILTER (WHERE m.name = 'perplexity' AND split = 'dense') AS dense_perplexity,
		max(value) FILTER (WHERE m.name = 'perplexity' AND split = 'tuned') AS tuned_perplexity,
		max(value) FILTER (WHERE m.name = 'excess_error' AND split = 'tuned') AS tuned_excess_error,
		max(value) FILTER (WHERE m.name = 'n_block' AND split = 'base') AS n_block,
		max(value) FILTER (WHERE m.name = 'cache_bytes_per_token' AND split = 'base') AS base_cache_bytes,
		max(value) FILTER (WHERE m.name = 'key_bytes_per_token' AND split = 'base') AS base_key_bytes,
		max(value) FILTER (WHERE m.name = 'cache_bytes_per_token' AND split = 'count') AS cache_bytes,
		max(value) FILTER (WHERE m.name = 'key_bytes_per_token' AND split = 'count') AS key_bytes,
		max(value) FILTER (WHERE m.name = 'n_param' AND split = 'base') AS base_n_param,
		max(value) FILTER (WHERE m.name = 'n_param' AND split = 'count') AS n_param,
		max(value) FILTER (WHERE m.name = 'n_param_tuned' AND split = 'count') AS n_param_tuned
	FROM planned_run p
	LEFT JOIN whole_metric m ON m.run_id = p.finished_id
	GROUP BY p.experiment, p.scale, p.ordinal
)
SELECT pivot.*, key_bytes / base_key_bytes AS key_share, cache_bytes / base_cache_bytes AS cache_share,
	converted_perplexity / base_perplexity - 1 AS converted_change,
	converted_perplexity / base_perplexity * converted_excess_error * q975 AS converted_change_half_width,
	tuned_perplexity / base_perplexity - 1 AS tuned_change,
	tuned_perplexity / base_perplexity * tuned_excess_error * q975 AS tuned_change_half_width,
	kl_error * q975 AS kl_half_width
FROM pivot LEFT JOIN t_quantile ON df = min(n_block - 1, 300);

-- A row per point: means over its seeds. What is not tuned differs between seeds by nothing but the choice of a
-- calibration text, if by that, so half widths of changes against the base are those of the test text (95 %, over blocks of
-- it); that of tuned_perplexity is over seeds (95 % t interval, NULL below two).
CREATE VIEW recovered_point AS
WITH grouped AS (
	SELECT experiment, scale, point_id, min(ordinal) AS ordinal, label, count(*) AS n_planned,
		count(converted_perplexity) AS n_seed, sum(state = 'diverged') AS n_diverged,
		avg(base_perplexity) AS base_perplexity, avg(base_error) AS base_error,
		avg(converted_perplexity) AS converted_perplexity, avg(converted_change) AS converted_change,
		avg(converted_change_half_width) AS converted_change_half_width,
		avg(kl) AS kl, avg(kl_half_width) AS kl_half_width, avg(agreement) AS agreement,
		avg(dense_perplexity) AS dense_perplexity, count(tuned_perplexity) AS n_tuned,
		avg(tuned_perplexity) AS tuned_perplexity,
		sqrt(max(0, sum(tuned_perplexity * tuned_perplexity) - sum(tuned_perplexity) * avg(tuned_perplexity))
			/ (count(tuned_perplexity) - 1)) AS tuned_sd,
		avg(tuned_change) AS tuned_change, avg(tuned_change_half_width) AS tuned_change_half_width,
		avg(key_share) AS key_share, avg(cache_share) AS cache_share,
		avg(key_bytes) AS key_bytes, avg(cache_bytes) AS cache_bytes, avg(base_key_bytes) AS base_key_bytes,
		avg(base_cache_bytes) AS base_cache_bytes, avg(n_param) AS n_param, avg(base_n_param) AS base_n_param,
		avg(n_param_tuned) AS n_param_tuned, avg(wall_s) AS wall_s, group_concat(finished_id, ' ') AS run_ids
	FROM recovered_run
	GROUP BY experiment, scale, point_id
)
SELECT grouped.*, tuned_sd * q975 / sqrt(n_tuned) AS tuned_half_width
FROM grouped LEFT JOIN t_quantile ON df = min(n_tuned - 1, 300);
