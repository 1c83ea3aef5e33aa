-- quality/02_outcomes.sql: how many answers of each teacher ended how; at most $ids of their row ids, smallest first.
-- reads: answers   writes: nothing
SELECT dataset, teacher, outcome, outcome_cause, count(*) AS rows, min(row_id, $ids) AS row_ids
FROM answers
GROUP BY ALL
ORDER BY ALL;
