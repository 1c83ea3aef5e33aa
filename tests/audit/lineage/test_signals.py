"""Each signal on texts where its answer is plain: what it must see, and the look-alike that it must not."""

import numpy as np
import pytest

from tutelage.audit.lineage.signals import SIGNALS
from tutelage.audit.lineage.signals.reading import read
from tutelage.audit.lineage.words import hashed

LONG = " ".join(f"word{number}" for number in range(80))


def bags(signal: str, text: str) -> dict[str, np.ndarray]:
    return SIGNALS[signal](read(text))


def shared(signal: str, one: str, other: str) -> dict[str, int]:
    """How many features two texts share in each view."""
    a, b = bags(signal, one), bags(signal, other)
    return {name: len(np.intersect1d(a[name], b[name])) for name in a}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    "text", ["", " ", "x", "\n\n\n", "!?", "你好", "\0\ud800", "a" * 100_000, "one two. " * 20_000]
)
def test_a_signal_reads_anything_and_its_views_are_always_the_same(signal: str, text: str) -> None:
    found = bags(signal, text)
    assert found.keys() == bags(signal, "Some text. Another line.").keys()
    assert all(bag.ndim == 1 and bag.dtype in (np.uint32, np.uint64) for bag in found.values())


@pytest.mark.parametrize("signal", SIGNALS)
def test_equal_texts_have_equal_bags(signal: str) -> None:
    for name, bag in bags(signal, f"Sure! {LONG}\n- a list\n").items():
        np.testing.assert_array_equal(bag, bags(signal, f"Sure! {LONG}\n- a list\n")[name])


def test_views_have_names_of_their_own() -> None:
    names = [name for signal in SIGNALS for name in bags(signal, "x")]
    assert len(names) == len(set(names))


def test_opening_sees_a_common_beginning_and_not_what_follows() -> None:
    found = shared("opening", f"Sure! Here are some ideas for you, {LONG}", "sure here are some ideas of mine")
    assert found["prefix"] == 5
    assert found["first-4"] == 4
    # A benign look-alike: the same words later on.
    assert shared("opening", f"{LONG} sure here are", "Sure here are")["prefix"] == 0


def test_opening_forgives_an_inserted_word_in_its_bags_only() -> None:
    found = shared("opening", "Well, sure here are some ideas", "sure here are some ideas")
    assert found["prefix"] == 0
    assert found["first-4"] == 3


def test_ending_sees_a_closing_formula_with_its_case_and_signs() -> None:
    one, other = f"{LONG}. I hope this helps!", f"{' '.join(reversed(LONG.split()))}. I hope this helps!"
    assert shared("ending", one, other)["last-tokens"] >= 6
    assert shared("ending", f"I hope this helps! {LONG}", "I hope this helps!") == {
        "last-tokens": 0,
        "last-characters": 0,
    }


def test_templates_see_how_sentences_are_built_whatever_they_are_about() -> None:
    one, other = "There is a cat in the house. It is very loud.", "There is a tree on the hill. It is quite tall."
    found = shared("templates", one, other)
    assert found["templates"] >= 3
    assert found["sentence-starts"] == 3  # there is (a); it is
    assert shared("templates", one, "Cats inhabit houses loudly")["sentence-starts"] == 0


def test_a_sentence_starts_with_two_and_with_three_words() -> None:
    assert len(bags("templates", "One two three. Four five six.")["sentence-starts"]) == 4
    assert len(bags("templates", "One two")["sentence-starts"]) == 1
    assert len(bags("templates", "One")["sentence-starts"]) == 0


def test_lexical_sees_words_in_any_order_and_case() -> None:
    assert shared("lexical", "The Moon rises", "rises the moon")["words"] == 3
    assert shared("lexical", "unhappiness", "happiness")["characters"] == 6


def test_phrases_are_five_words_in_a_row() -> None:
    assert shared("phrases", "a b c d e f", "x a b c d e f y")["phrases"] == 2
    assert shared("phrases", "a b c d", "a b c d")["phrases"] == 0
    assert shared("phrases", "a b c d e", "e d c b a")["phrases"] == 0
    assert shared("phrases", "A, b; c. d\ne", "a b c d e")["phrases"] == 1


def test_layout_sees_lists_and_headings_and_no_words() -> None:
    assert shared("layout", "1. Apples\n2. Pears", "7. Cars\n8. Bikes")["lines"] == len(
        np.unique(bags("layout", "1. Apples\n2. Pears")["lines"])
    )
    kinds = {text: bags("layout", text)["lines"][0] for text in ("# Head", "- item", "* item", "1. one", "**x**", "Ab")}
    assert len(set(kinds.values())) == len(kinds)
    assert kinds["Ab"] != bags("layout", "I am")["lines"][0]  # a word of one letter is another kind
    assert bags("layout", "Abc")["lines"][0] == bags("layout", "Something else")["lines"][0] == hashed("aaa")


def test_layout_reads_the_beginning_so_length_is_no_habit() -> None:
    start = "# Title\n" + "- item\n" * 50
    np.testing.assert_array_equal(bags("layout", start)["lines"], bags("layout", start * 5)["lines"])


def test_plain_prose_of_two_authors_is_laid_out_alike_and_shares_nothing_else() -> None:
    """A benign look-alike: no list and no heading is everybody's habit, and weighs nothing for it (`likeness`)."""
    one, other = "Rain falls softly outside tonight.", "Seven engineers built bridges across Norway"
    found = {name: count for signal in SIGNALS for name, count in shared(signal, one, other).items()}
    assert found.pop("lines") > 0
    assert {name for name, count in found.items() if count} <= {"characters", "templates"}
