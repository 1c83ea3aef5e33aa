-- lineage/09_prompts_shown.sql: the prompts that all compared models answered.
-- reads: prompts, chosen_prompts(prompt_no)
SELECT prompt_id, prompt
FROM prompts
JOIN chosen_prompts USING (prompt_no)
ORDER BY prompt_no;
