-- duplicates/06_pairs.sql: the candidates of all bands, once each, in order.
-- reads: candidates
SELECT DISTINCT left_no, right_no
FROM candidates
ORDER BY left_no, right_no;
