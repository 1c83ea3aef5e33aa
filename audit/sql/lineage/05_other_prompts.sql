-- lineage/05_other_prompts.sql: how many rows of each model answer another text than their id stands for.
-- reads: output_rows, forms, prompts
SELECT output_rows.model_no, count(*) AS n
FROM output_rows
JOIN forms USING (prompt)
JOIN prompts ON prompts.prompt_id = output_rows.prompt_id AND prompts.form <> forms.form
GROUP BY output_rows.model_no
ORDER BY output_rows.model_no;
