-- report/03_severities.sql: findings by audit and severity.
-- reads: findings   writes: nothing
SELECT audit, severity, count(*) AS findings
FROM findings
GROUP BY audit, severity
ORDER BY audit, severity;
