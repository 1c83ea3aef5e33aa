-- quality/07_texts.sql: every answer's text, for what SQL can't tell of it (refusals.py, repetition.py).
-- reads: completions   writes: nothing
SELECT dataset, coalesce(teacher, '') AS teacher, row_id, response
FROM completions
WHERE coalesce(outcome, 'ok') IN ('ok', 'truncated') AND response IS NOT NULL;
