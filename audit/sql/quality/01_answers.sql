-- quality/01_answers.sql: one small row for each completion, so that texts are read once.
-- An answer is blank where it shows nothing: spaces, controls, characters without a form. A teacher that is not named is ''.
-- reads: completions   writes: answers
CREATE OR REPLACE TEMP TABLE answers AS
SELECT
    dataset,
    row_id,
    request_id,
    coalesce(teacher, '') AS teacher,
    outcome,
    coalesce(outcome, 'ok') IN ('ok', 'truncated') AS is_answer,
    outcome_cause,
    length(response) AS chars,
    tool_calls IS NOT NULL AS calls_tools,
    response IS NULL OR regexp_full_match(response, '[\s\p{Z}\p{Cc}\p{Cf}]*') AS is_blank,
    hash(response) AS response_hash,
    CASE WHEN messages IS NOT NULL THEN hash(messages) END AS prompt_hash,
    CASE
        WHEN json_valid(sampling) THEN try_cast(json_extract_string(sampling, '$.temperature') AS DOUBLE)
    END AS temperature,
    sample_index,
    prompt_tokens,
    completion_tokens,
    cost_usd,
    created_at,
    model_reported,
    system_fingerprint,
    prompt_source,
    prompt_license,
    terms_id,
    train_use,
    obligations
FROM completions;
