-- duplicates/07_clusters.sql: the component of every text that has a copy or a near copy.
-- reads: texts, joined(text_no, root_no)   writes: components
CREATE OR REPLACE TEMP TABLE components AS
SELECT texts.text_no, texts.part, texts.sha256, texts.owners, coalesce(joined.root_no, texts.text_no) AS root_no
FROM texts
LEFT JOIN joined USING (text_no)
WHERE joined.root_no IS NOT NULL OR (texts.owners > 1 AND (NOT $across OR (texts.on_left AND texts.on_right)));
