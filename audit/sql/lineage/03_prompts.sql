-- lineage/03_prompts.sql: the prompt behind each id: the text that most models have, of equally many the first.
-- reads: output_rows, forms   writes: prompts
CREATE OR REPLACE TEMP TABLE prompts AS
WITH texts AS (
    SELECT
        output_rows.prompt_id,
        forms.form,
        arg_min(output_rows.prompt, output_rows.row_no) AS prompt,
        min(output_rows.row_no) AS first_row,
        count(DISTINCT output_rows.model_no) AS models
    FROM output_rows
    JOIN forms USING (prompt)
    GROUP BY output_rows.prompt_id, forms.form
),
ids AS (
    SELECT *, min(first_row) OVER (PARTITION BY prompt_id) AS id_row
    FROM texts
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY models DESC, first_row) = 1
)
SELECT (row_number() OVER (ORDER BY id_row) - 1)::INTEGER AS prompt_no, prompt_id, form, prompt
FROM ids;
