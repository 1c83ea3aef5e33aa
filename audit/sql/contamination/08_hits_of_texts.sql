-- contamination/08_hits_of_texts.sql: the hits in some texts, with the text of the entry where only a part can be shown.
-- reads: chosen, entries, arriving(text_no)
SELECT
    chosen.text_no,
    chosen.entry_no,
    chosen.method,
    chosen.first_word,
    chosen.last_word,
    CASE WHEN length(entries.text) > $most_characters THEN entries.text END AS long_item
FROM chosen
JOIN arriving USING (text_no)
JOIN entries USING (entry_no)
WHERE chosen.part = $part AND chosen.place <= $most_hits
ORDER BY chosen.text_no, chosen.entry_no;
