import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit.ngram_overlap import NGRAM_WORDS, ngram_index, ngram_matches
from tutelage.schemas.shingles import shingles_of
from tutelage.schemas.text import words

TEXTS = st.lists(st.lists(st.sampled_from("ab"), max_size=40).map(" ".join), min_size=1, max_size=6)


def grams(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + NGRAM_WORDS]) for start in range(len(found) - NGRAM_WORDS + 1)}


def shares(entries: list[str], texts: list[str], items: list[int]) -> dict[tuple[int, int], float]:
    counts = np.array([len(words(entry)) for entry in entries])
    index = ngram_index(shingles_of(entries, NGRAM_WORDS), counts, np.array(items))
    found = ngram_matches(index, shingles_of(texts, NGRAM_WORDS))
    return dict(zip(zip(found.texts.tolist(), found.entries.tolist(), strict=True), found.shares.tolist(), strict=True))


@given(TEXTS, TEXTS)
def test_shares_are_those_of_plain_sets(entries: list[str], texts: list[str]) -> None:
    items = list(range(len(entries)))
    spread: dict[tuple[str, ...], int] = {}
    for entry in entries:
        for gram in grams(entry):
            spread[gram] = spread.get(gram, 0) + 1
    told = [{gram for gram in grams(entry) if spread[gram] < 3} for entry in entries]
    wanted = {
        (text_no, entry_no): len(told[entry_no] & grams(text)) / len(told[entry_no])
        for text_no, text in enumerate(texts)
        for entry_no in items
        if told[entry_no] & grams(text)
    }
    assert shares(entries, texts, items) == wanted


def test_by_hand() -> None:
    entry = " ".join(f"w{number}" for number in range(16))  # four 13-grams
    assert shares([entry], [entry, f"so {entry[:-4]} and", "w0 w1 w2", ""], [0]) == {(0, 0): 1.0, (1, 0): 0.75}


def test_what_three_items_share_is_boilerplate_and_counted() -> None:
    form = "answer the following question with one of the letters a b c or d and say why"
    entries = [f"{form} {number}" for number in range(3)]
    index = ngram_index(shingles_of(entries, 13), np.array([18, 18, 18]), np.arange(3))
    assert index.boilerplate == 5
    assert shares(entries, [form], [0, 1, 2]) == {}
    assert shares(entries[:2], [form], [0, 1]) != {}
    # Fields of one item count once.
    assert shares(entries, [form], [0, 0, 1]) != {}
