-- lineage/04_answers.sql: each distinct answer to that prompt, by its first row; `copies` are the rows that say the same.
-- reads: output_rows, forms, prompts   writes: answers
CREATE OR REPLACE TEMP TABLE answers AS
SELECT
    min(output_rows.row_no) AS row_no,
    output_rows.model_no,
    prompts.prompt_no,
    output_rows.sample_index,
    sha256(output_rows.response) AS digest,
    bool_or(output_rows.response = '') AS is_empty,
    count(*) AS copies
FROM output_rows
JOIN forms USING (prompt)
JOIN prompts ON prompts.prompt_id = output_rows.prompt_id AND prompts.form = forms.form
GROUP BY output_rows.model_no, prompts.prompt_no, output_rows.sample_index, digest;
