-- quality/04_empty.sql: answers that show nothing and call no tool.
-- What was refused or filtered is left out: there it is no answer that is missing.
-- reads: answers   writes: nothing
SELECT dataset, teacher, outcome, count(*) AS rows, min(row_id, $ids) AS row_ids
FROM answers
WHERE is_blank AND NOT calls_tools AND coalesce(outcome, 'ok') NOT IN ('refused', 'filtered')
GROUP BY ALL
ORDER BY ALL;
