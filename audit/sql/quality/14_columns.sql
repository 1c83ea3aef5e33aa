-- quality/14_columns.sql: how many rows of each dataset say where they come from, column by column.
-- reads: completions   writes: nothing
SELECT
    dataset,
    count(*) AS rows,
    count(teacher) AS teacher,
    count(model_requested) AS model_requested,
    count(model_reported) AS model_reported,
    count(revision) AS revision,
    count(channel) AS channel,
    count(created_at) AS created_at,
    count(sampling) AS sampling,
    count(prompt_source) AS prompt_source,
    count(prompt_license) AS prompt_license,
    count(terms_id) AS terms_id,
    count(train_use) AS train_use,
    count(outcome) AS outcome,
    count(salt) AS salt,
    count(leaf_sha256) AS leaf_sha256
FROM completions
GROUP BY ALL
ORDER BY ALL;
