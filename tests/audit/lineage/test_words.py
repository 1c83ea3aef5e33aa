"""Texts as hashes: what is a word, and that equal runs, prefixes and places have equal hashes and others haven't."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit.lineage import words as module
from tutelage.audit.lineage.words import (
    FUNCTION_WORDS,
    LONGEST_TEXT,
    characters,
    hashed,
    placed,
    prefixes,
    runs,
    shown_part,
    tokens_of,
)

ITEMS = st.lists(st.integers(0, 3), max_size=12)


def of(items: list[int]) -> np.ndarray:
    return np.array([hashed(str(item)) for item in items], np.uint64)


def equal_where(found: np.ndarray, expected: list[object]) -> None:
    """The same hash stands exactly where the same thing stands."""
    assert len(found) == len(expected)
    numbers: dict[object, int] = {}
    for value, thing in zip(found.tolist(), expected, strict=True):
        assert numbers.setdefault(thing, value) == value
    assert len(set(numbers.values())) == len(numbers)


@given(ITEMS, st.integers(1, 5))
def test_runs_are_those_of_tuples(items: list[int], length: int) -> None:
    expected: list[object] = [tuple(items[place : place + length]) for place in range(len(items) - length + 1)]
    equal_where(runs(of(items), length), expected)


@given(ITEMS, ITEMS, st.integers(1, 8))
def test_texts_share_as_many_prefixes_as_they_begin_alike(one: list[int], other: list[int], most: int) -> None:
    both = np.concatenate([prefixes(of(one), most), prefixes(of(other), most)])
    expected: list[object] = [
        start for items in (one, other) for start in accumulate(((item,) for item in items[:most]), tuple.__add__)
    ]
    equal_where(both, expected)


@given(ITEMS)
def test_placed_items_are_told_apart_by_their_place(items: list[int]) -> None:
    equal_where(placed(of(items)), list(enumerate(items)))


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_characters_are_runs_of_four_bytes(text: str) -> None:
    data = text.lower().encode()
    expected = [int.from_bytes(data[place : place + 4], "little") for place in range(len(data) - 3)]
    assert characters(text).tolist() == expected


@pytest.mark.parametrize(
    ("text", "words", "signs"),
    [
        ("It's a test, isn't it?", ["it's", "a", "test", "isn't", "it"], 2),
        ("don’t", ["don't"], 0),
        ("Über ÉTÉ", ["über", "été"], 0),
        ("snake_case 3.14", ["snake_case", "3", "14"], 1),
        ("你好，世界", ["你好", "世界"], 1),
        ("**bold**\n\n- x", ["bold", "x"], 6),
        ("", [], 0),
        ("  \t ", [], 0),
        ("🙂!", [], 2),
    ],
)
def test_a_text_is_cut_into_words_and_signs(text: str, words: list[str], signs: int) -> None:
    tokens = tokens_of(text)
    assert tokens.words().tolist() == [hashed(word) for word in words]
    assert int((~tokens.is_word).sum()) == signs


def test_case_is_kept_in_one_reading_and_not_in_the_others() -> None:
    small, large = tokens_of("sure thing"), tokens_of("Sure Thing")
    assert small.plain.tolist() == large.plain.tolist()
    assert not set(small.cased.tolist()) & set(large.cased.tolist())


def test_a_template_keeps_function_words_and_signs_and_blanks_the_rest() -> None:
    one, other = tokens_of("The cat is in the house."), tokens_of("The dog is in the garden.")
    assert one.template.tolist() == other.template.tolist()
    assert one.template.tolist() != tokens_of("A cat is in the house.").template.tolist()
    assert one.template[1] == hashed("@")
    assert {"the", "is", "don't"} <= FUNCTION_WORDS


def test_sentences_and_lines_end_with_their_signs() -> None:
    tokens = tokens_of("One. Two!\nThree, four：五。")
    assert tokens.ends.tolist() == [False, True, False, True, True, False, False, False, False, False, True]


def test_the_vocabulary_grows_and_starts_again_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(f"word{number}" for number in range(start, start + 3_000)) for start in (0, 3_000, 6_000, 0)]
    before = [tokens_of(text).plain.tolist() for text in texts]
    monkeypatch.setattr(module, "_VOCABULARY_SIZE", 10)
    assert [tokens_of(text).plain.tolist() for text in texts] == before
    assert before[0] == before[3] == [hashed(f"word{number}") for number in range(3_000)]


def test_of_a_text_that_runs_on_head_and_tail_are_read() -> None:
    text = "".join(str(number % 10) for number in range(100_000))
    shown = shown_part(text)
    assert len(shown) == LONGEST_TEXT + 1
    assert shown == f"{text[:12_000]}\n{text[-8_000:]}"
    assert shown_part(text[:LONGEST_TEXT]) == text[:LONGEST_TEXT]


def test_surrogates_and_nul_are_read_like_any_sign() -> None:
    for text in ("\ud800", "\0\0\0\0\0", "a\udfffb c"):
        assert len(tokens_of(text).plain) >= 1
        characters(text)
