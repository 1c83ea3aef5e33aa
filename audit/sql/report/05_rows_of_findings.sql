-- report/05_rows_of_findings.sql: rows that findings are about: the first of every finding, then the second, and so on.
-- reads: findings, completions, manifests   writes: nothing
WITH numbered AS (
    SELECT
        row_number() OVER (ORDER BY list_position(['error', 'warning', 'info'], severity), audit, rule, dataset, message)
            AS number,
        dataset,
        row_ids[1:6] AS row_ids
    FROM findings
),
wanted AS (
    SELECT number, dataset, unnest(row_ids) AS row_id, unnest(range(len(row_ids))) AS place
    FROM numbered
    ORDER BY place, number
    LIMIT 200
)
SELECT
    wanted.number,
    found.dataset,
    found.row_id,
    found.prompt_id,
    [{'role': message.role, 'content': left(message.content, 2000), 'length': length(message.content)}
     FOR message IN found.messages[1:12]] AS messages,
    len(found.messages) AS message_count,
    left(found.response, 2000) AS response,
    length(found.response) AS response_length,
    left(found.reasoning, 2000) AS reasoning,
    length(found.reasoning) AS reasoning_length,
    found.outcome,
    found.outcome_cause,
    found.finish_reason,
    found.teacher,
    found.model_requested,
    found.model_reported,
    found.revision,
    found.channel,
    found.provider_request_id,
    found.system_fingerprint,
    found.sampling,
    found.sample_index,
    found.prompt_tokens,
    found.completion_tokens,
    found.cost_usd,
    found.latency_ms,
    found.attempts,
    strftime(found.created_at, '%Y-%m-%d %H:%M:%S') AS created_at,
    found.run_id,
    found.prompt_source,
    found.prompt_source_row,
    found.prompt_license,
    found.terms_id,
    found.train_use,
    found.obligations,
    found.code_version,
    found.leaf_sha256
FROM wanted
JOIN completions AS found
    ON found.row_id = wanted.row_id
    AND (found.dataset = wanted.dataset OR wanted.dataset NOT IN (SELECT dataset FROM manifests))
ORDER BY wanted.place, wanted.number, found.dataset, found.row_id
LIMIT 200;
