-- report/25_cannot_tell.sql: what each audit says that it cannot tell.
-- reads: findings   writes: nothing
SELECT DISTINCT audit, cannot_tell
FROM findings
ORDER BY audit, cannot_tell
LIMIT 60;
