"""No held-out row may be a training row under another name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import tiny_tokenizer
from token_scene import split_set

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion
from tutelage.schemas.text import normalise
from tutelage.train.config import Data, Loss
from tutelage.train.rows.overlap import NO_TEXT, require_no_overlap, text_digests
from tutelage.train.rows.token_store import build_store

MakeRow = Callable[..., Completion]
EIGHT = "One two three four five six seven eight."


def compare(folder: Path, train: list[Completion], held_out: list[Completion]) -> None:
    uri, tokenizer = split_set(folder / "set", train, held_out), tiny_tokenizer()
    stores = [build_store(uri, split, tokenizer, Data(), Loss(), folder / "tokens") for split in ("train", "held_out")]
    require_no_overlap(*stores)


def test_splits_that_share_nothing_pass(tmp_path: Path, completion: MakeRow) -> None:
    compare(tmp_path, [completion() for _ in range(9)], [completion() for _ in range(9)])


def test_a_held_out_row_that_was_trained_on_is_named_with_its_twin(tmp_path: Path, completion: MakeRow) -> None:
    taught = completion(messages=[("user", "How old?")], response="Ten.")
    kept = completion(messages=[("user", "how OLD")], response="ten")
    with pytest.raises(ConfigError) as caught:
        compare(tmp_path, [completion(), taught], [completion(), kept])
    assert "1 held-out rows ask what a training row asks" in str(caught.value)
    assert f"{kept.row_id} (like {taught.row_id})" in str(caught.value)


def test_a_long_answer_to_another_question_is_known_again(tmp_path: Path, completion: MakeRow) -> None:
    with pytest.raises(ConfigError, match="link_responses_from_words: 8"):
        compare(tmp_path, [completion(response=EIGHT)], [completion(response=EIGHT.upper())])


def test_a_short_answer_to_another_question_is_none(tmp_path: Path, completion: MakeRow) -> None:
    seven = EIGHT.removesuffix(" eight.")
    compare(tmp_path, [completion(response=seven)], [completion(response=seven)])


def test_the_same_question_answered_otherwise_is_one_as_evaluate_has_it(tmp_path: Path, completion: MakeRow) -> None:
    taught = completion(messages=[("system", "Be kind."), ("user", "How old?")], response="Ten.")
    kept = completion(messages=[("user", "How old?")], response="Nine.")
    with pytest.raises(ConfigError, match=rf"{kept.row_id} \(like {taught.row_id}\)"):
        compare(tmp_path, [taught], [kept])


def test_rows_in_which_nobody_asks_are_not_held_against_one_another(tmp_path: Path, completion: MakeRow) -> None:
    rows = [completion(messages=[("user", "?!")], response=word) for word in ("One", "Two")]
    compare(tmp_path, rows[:1], rows[1:])


def test_of_many_twenty_are_named(tmp_path: Path, completion: MakeRow) -> None:
    rows = [completion() for _ in range(23)]
    again = [completion(messages=row.messages, response=row.response) for row in rows]
    with pytest.raises(ConfigError, match=r"23 held-out rows .* and 3 more"):
        compare(tmp_path, rows, again)


@given(st.text(), st.text(), st.text(), st.text())
def test_digests_are_equal_where_the_normal_forms_are(prompt: str, answer: str, other: str, another: str) -> None:
    left, right = text_digests([("user", prompt)], answer), text_digests([("user", other)], another)
    same_answer = normalise(answer) == normalise(another)
    assert (left[0] == right[0]) == (normalise(prompt) == normalise(other))
    assert (left[0] == NO_TEXT) == (normalise(prompt) == "")
    long_enough = len(normalise(answer).split()) >= 8
    assert (left[1] != NO_TEXT) == long_enough
    assert not long_enough or (left[1] == right[1]) == same_answer
