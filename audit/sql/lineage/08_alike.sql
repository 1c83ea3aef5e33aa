-- lineage/08_alike.sql: the models that say nothing now and then, or the same to every prompt.
-- reads: answers, chosen_models(model_no), chosen_prompts(prompt_no)
SELECT
    model_no,
    count(*) AS answers,
    count(*) FILTER (is_empty) AS empty_answers,
    count(DISTINCT digest) = 1 AND count(DISTINCT prompt_no) > 1 AS always_the_same
FROM answers
JOIN chosen_models USING (model_no)
JOIN chosen_prompts USING (prompt_no)
GROUP BY model_no
HAVING empty_answers > 0 OR always_the_same
ORDER BY model_no;
