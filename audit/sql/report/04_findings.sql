-- report/04_findings.sql: what the audits found, the worst first.
-- reads: findings   writes: nothing
SELECT
    row_number() OVER (ORDER BY list_position(['error', 'warning', 'info'], severity), audit, rule, dataset, message)
        AS number,
    audit,
    rule,
    severity,
    dataset,
    message,
    "rows",
    left(evidence, 8000) AS evidence,
    threshold,
    threshold_source,
    error_rate,
    error_rate_source,
    cannot_tell
FROM findings
ORDER BY number
LIMIT 500;
