-- lineage/00_rows.sql: the rows of the models that are compared, in the order of the files.
-- reads: nothing   writes: output_rows
CREATE OR REPLACE TEMP TABLE output_rows (
    row_no BIGINT,
    model_no INTEGER,
    prompt_id VARCHAR,
    prompt VARCHAR,
    sample_index BIGINT,
    response VARCHAR
);
