-- report/07_sealed_terms.sql: what the manifests say was decided for each teacher, before it was asked.
-- reads: terms   writes: nothing
SELECT dataset, teacher, train_use, obligations, reasons, declared_by_user, override
FROM terms
ORDER BY dataset, teacher
LIMIT 60;
