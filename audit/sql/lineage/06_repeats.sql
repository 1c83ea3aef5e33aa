-- lineage/06_repeats.sql: rows that say what an earlier row says, and answers beyond the first of one sample.
-- reads: answers
SELECT coalesce(sum(copies) - count(*), 0)::BIGINT AS copies,
    count(*) - count(DISTINCT (model_no, prompt_no, sample_index)) AS further_samples
FROM answers;
