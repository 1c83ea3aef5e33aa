-- report/16_languages.sql: the languages that responses are in, as guessed, and how many are in their prompt's.
-- reads: fingerprints   writes: nothing
SELECT
    response_language AS language,
    count(*) AS "rows",
    (sum(count(*)) OVER ())::BIGINT AS all_rows,
    count(*) FILTER (response_language = prompt_language) AS as_their_prompt,
    count(*) FILTER (response_language <> prompt_language) AS other_than_their_prompt
FROM fingerprints
GROUP BY response_language
ORDER BY "rows" DESC, language
LIMIT 40;
