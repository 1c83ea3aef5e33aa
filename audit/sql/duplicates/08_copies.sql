-- duplicates/08_copies.sql: who has each text of a component: once each owner, by its smallest row.
-- reads: components, arrived   writes: copies
CREATE OR REPLACE TEMP TABLE copies AS
SELECT
    components.text_no,
    arrived.dataset_no,
    coalesce(arrived.owner, arrived.row_id) AS owner,
    min(arrived.row_id) AS row_id,
    arrived.dataset_no < $left_datasets AS on_left
FROM components
JOIN arrived USING (part, sha256)
GROUP BY ALL;
