"""Refusals in plain words are told from what only sounds like one."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit import refusals
from tutelage.audit.refusals import (
    DECLINES,
    LONG_CHARS,
    ON_PRINCIPLE,
    OPENING_CHARS,
    SHORT_CHARS,
    TURN_CHARS,
    TURNS,
    refusing,
)


def refuses(text: str | None) -> bool:
    return bool(refusing(pa.array([text], pa.string()))[0].as_py())


REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I am sorry, but I cannot fulfill your request.",
    "Sorry, but I can't assist with that.",
    "I apologize, but I cannot provide instructions for that.",
    "As an AI language model, I cannot provide legal advice.",
    "I'm sorry, but as an AI language model, I am not able to predict the future.",
    "As an artificial intelligence, I am unable to generate such content.",
    "I cannot create content that glorifies violence.",
    "I won't help you deceive anybody.",
    "I must respectfully decline.",
    "I do not feel comfortable writing that.",
    "Unfortunately, I am not able to browse the internet.",
    "I don't have access to real-time data, so I can't tell the date.",
    "I can't accommodate that request. However, I can suggest another topic.",
    "It would not be appropriate for me to write about that.",
    "I cannot provide guidance on illegal acts. However, I can tell how the law sees them. " + "It is long. " * 120,
]
BENIGN = [
    "",
    "Yes.",
    "\"I'm sorry, I can't come tonight,\" she said, and hung up the phone.",
    "Dear customer, I am sorry for the delay of your order. We could not ship it in time.",
    "Subject: Apology for the delay\n\nWe sincerely apologize; we are unable to undo it, but we will refund you.",
    "I can't wait to see you! The garden is in bloom and the strawberries are ripe.",
    "I'm sorry to hear that your dog died. Here are some ways to remember him.",
    "You can't cook an egg in sunlight alone.",
    "Banks cannot use cash as reserves because the law says so.",
    "As an AI language model, I don't have personal opinions. However, here are three arguments for each side.",
    "As an AI language model, I cannot feel hunger, but I can tell you how to bake bread: "
    + "knead, wait, bake. " * 30,
    "The refusal reads: I cannot do that.",
    "No, it is not illegal to keep what you find there.",
    "Sure! Here's a poem about the sea.",
    "I will not go gentle into that good night; I rage against it.",
    "I cannot stress enough how important sleep is.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_told(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", BENIGN)
def test_what_only_sounds_like_a_refusal_is_none(text: str) -> None:
    assert not refuses(text)


def test_a_long_answer_that_began_with_a_disclaimer_has_answered() -> None:
    start = "As an AI language model, I cannot provide medical advice."
    assert refuses(start)
    assert not refuses(start + " Sleep helps the body to heal in several ways." * 30)
    assert not refuses(start + " However, I can tell what studies say." + " Sleep helps." * 30)


@given(st.sampled_from(REFUSALS + BENIGN), st.sampled_from(["", "  ", "\n\n", "* ", '"']), st.integers(0, 100))
def test_the_rule_is_what_it_says(text: str, before: str, tail: int) -> None:
    """The oracle: the rule spelt out in Python's own engine, one text at a time."""
    text = before + text + " Indeed." * tail
    flat = text.replace("’", "'").lower()
    declines = re.compile(DECLINES).search(flat[:OPENING_CHARS]) is not None
    principle = re.compile(ON_PRINCIPLE).search(flat[:OPENING_CHARS]) is not None
    turned = re.compile(TURNS).search(flat[:TURN_CHARS]) is not None
    answers = len(text) > LONG_CHARS or (len(text) > SHORT_CHARS and turned)
    assert refuses(text) == (declines and (principle or not answers))


@given(st.text(st.characters(codec="utf-8"), max_size=2000))
def test_any_text_at_all_is_read(text: str) -> None:
    refuses(text)


def test_many_texts_are_judged_each_for_itself() -> None:
    texts = [*REFUSALS, None, *BENIGN]
    wanted = [True] * len(REFUSALS) + [False] * (1 + len(BENIGN))
    assert refusing(pa.array(texts, pa.string())).to_pylist() == wanted
    assert refusing(pa.array([], pa.string())).to_pylist() == []


@pytest.mark.parametrize(
    "text", ["i " * 5000, "as an " * 3000, "sorry, but " * 2000, "hello " * 5000, "unfortunately " * 2000]
)
def test_text_made_to_slow_the_patterns_down_does_not(text: str) -> None:
    assert not refuses(text)


REAL = Path(__file__).parents[3] / "shared" / "data" / "lineage-dev" / "outputs.parquet"


@pytest.mark.skipif(not REAL.exists(), reason="shared/data is not here: real answers to measure on")
def test_real_answers_refuse_as_rarely_as_was_measured() -> None:
    """549 of 97,397; read one by one in a sample of 100, 7 were none (refusals.REFUSAL_ERROR_SOURCE)."""
    import pyarrow.parquet as pq

    texts = pq.read_table(REAL, columns=["response"])["response"].combine_chunks()
    assert sum(refusing(texts).to_pylist()) == 549
    assert refusals.REFUSAL_ERROR_RATE == 0.07
