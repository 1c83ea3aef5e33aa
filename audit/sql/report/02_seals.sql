-- report/02_seals.sql: does each dataset's seal hold, and if not, why?
-- reads: manifests   writes: nothing
SELECT
    dataset,
    sealed,
    problems[1:20] AS problems,
    len(problems) AS problem_count,
    event,
    strftime(created_at, '%Y-%m-%d %H:%M:%S') AS sealed_at,
    merkle_root,
    manifest_sha256,
    leaves,
    tombstones,
    code_version
FROM manifests
ORDER BY dataset
LIMIT 60;
