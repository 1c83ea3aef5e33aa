-- lineage/01_add_rows.sql: some more of them; rows of other models, and such without a prompt's id, stay out.
-- reads: arriving, wanted(model, model_no)   writes: output_rows
INSERT INTO output_rows
SELECT
    arriving.row_no,
    wanted.model_no,
    arriving.prompt_id,
    arriving.prompt,
    arriving.sample_index,
    arriving.response
FROM arriving
JOIN wanted USING (model)
WHERE arriving.prompt_id IS NOT NULL
ORDER BY arriving.row_no;
