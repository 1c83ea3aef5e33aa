-- contamination/00_entries.sql: the texts of all evaluation sets: one row for each text field of each item.
-- reads: nothing   writes: entries
CREATE OR REPLACE TEMP TABLE entries (
    entry_no BIGINT,
    benchmark_no BIGINT,
    item_no BIGINT,
    item_id VARCHAR,
    field VARCHAR,
    text VARCHAR,
    words BIGINT,
    sha256 BLOB
);
