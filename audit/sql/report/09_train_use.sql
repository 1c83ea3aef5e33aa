-- report/09_train_use.sql: how many rows may be trained on, by what their terms say.
-- reads: completions   writes: nothing
SELECT train_use, count(*) AS "rows"
FROM completions
GROUP BY train_use
ORDER BY "rows" DESC, train_use
LIMIT 20;
