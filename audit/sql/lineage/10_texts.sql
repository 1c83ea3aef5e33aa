-- lineage/10_texts.sql: the answers that are compared, by prompt, model and sample.
-- reads: answers, output_rows, chosen_models(model_no), chosen_prompts(prompt_no)
SELECT answers.model_no, answers.prompt_no, output_rows.response
FROM answers
JOIN chosen_models USING (model_no)
JOIN chosen_prompts USING (prompt_no)
JOIN output_rows USING (row_no)
ORDER BY answers.prompt_no, answers.model_no, answers.sample_index, answers.row_no;
