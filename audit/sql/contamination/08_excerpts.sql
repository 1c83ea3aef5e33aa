-- contamination/08_excerpts.sql: what is shown of a text, and of an entry where that is too long to be shown whole.
-- reads: nothing   writes: excerpts
CREATE OR REPLACE TEMP TABLE excerpts (
    part VARCHAR,
    text_no BIGINT,
    entry_no BIGINT,
    row_text VARCHAR,
    item_text VARCHAR
);
