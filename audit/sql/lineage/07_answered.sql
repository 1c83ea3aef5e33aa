-- lineage/07_answered.sql: which model answered which prompt.
-- reads: answers
SELECT DISTINCT model_no, prompt_no
FROM answers
ORDER BY model_no, prompt_no;
