-- duplicates/05_candidates.sql: the pairs of a bucket; of an oversized one each text with the first and with the next.
-- Both links stand in for all pairs: what is alike stays in one component, and no text of the bucket is left out.
-- reads: members   writes: candidates (adds to it)
INSERT INTO candidates
SELECT DISTINCT left_no, right_no
FROM (
    SELECT l.text_no AS left_no, r.text_no AS right_no, l.on_left, l.on_right, r.on_left AS r_left, r.on_right AS r_right
    FROM members AS l
    JOIN members AS r ON l.digest = r.digest AND l.text_no < r.text_no
    WHERE l.texts <= $bucket_limit
    UNION ALL
    SELECT near.other, near.text_no, near.other_left, near.other_right, near.on_left, near.on_right
    FROM (
        SELECT
            text_no, on_left, on_right,
            unnest([first(text_no) OVER bucket, lag(text_no) OVER bucket]) AS other,
            unnest([first(on_left) OVER bucket, lag(on_left) OVER bucket]) AS other_left,
            unnest([first(on_right) OVER bucket, lag(on_right) OVER bucket]) AS other_right
        FROM members
        WHERE texts > $bucket_limit
        WINDOW bucket AS (PARTITION BY digest ORDER BY text_no)
    ) AS near
    WHERE near.other < near.text_no
) AS pairs
WHERE NOT $across OR (on_left AND r_right) OR (on_right AND r_left);
