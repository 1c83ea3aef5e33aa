-- lineage/02_forms.sql: each prompt's text as it is compared: spacing and Unicode's ways to write a letter don't count.
-- reads: output_rows   writes: forms
CREATE OR REPLACE TEMP TABLE forms AS
SELECT prompt, nfc_normalize(trim(regexp_replace(prompt, '[\s\p{Z}]+', ' ', 'g'))) AS form
FROM (SELECT DISTINCT prompt FROM output_rows);
