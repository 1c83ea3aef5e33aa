-- contamination/07_chosen.sql: of each text and entry the strongest evidence: equal texts, then 13-grams, then overlap.
-- `place` orders the hits of a text in one evaluation set: those behind $most_hits are counted, not listed.
-- reads: found, entries   writes: chosen
CREATE OR REPLACE TEMP TABLE chosen AS
WITH ranked AS (
    SELECT
        found.*,
        entries.benchmark_no,
        list_position(['exact', 'ngram', 'near'], found.method) AS strength
    FROM found
    JOIN entries USING (entry_no)
),
strongest AS (
    SELECT *
    FROM ranked
    QUALIFY row_number() OVER (PARTITION BY part, text_no, entry_no ORDER BY strength) = 1
)
SELECT
    * EXCLUDE (strength),
    row_number() OVER (PARTITION BY part, text_no, benchmark_no ORDER BY strength, share DESC, entry_no) AS place
FROM strongest;
