-- contamination/09_hits.sql: every row with what its texts hold; rows of one text have the same hits.
-- reads: chosen, texts, arrived, datasets(dataset_no, dataset)   writes: hits
CREATE OR REPLACE TEMP VIEW hits AS
SELECT
    arrived.row_no,
    arrived.row_id,
    datasets.dataset_no,
    datasets.dataset,
    chosen.*
FROM chosen
JOIN texts ON texts.part = chosen.part AND texts.text_no = chosen.text_no
JOIN arrived ON texts.sha256 = CASE WHEN texts.part = 'prompt' THEN arrived.prompt_sha256 ELSE arrived.response_sha256 END
JOIN datasets ON datasets.dataset_no = arrived.dataset_no;
