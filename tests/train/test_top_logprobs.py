"""Logit data is taken for what it is, or refused: the teacher's ids, its lists, k, the tokenizer, the temperature."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_templates import MISTRAL, THINKING
from tiny_tokenizer import tiny_tokenizer
from token_scene import K, logit_loss, said, split_set

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Completion
from tutelage.train.config import Data, Loss, TeacherLogits
from tutelage.train.rows.token_pieces import Pieces
from tutelage.train.rows.token_store import TokenStore, build_store

MakeRow = Callable[..., Completion]
TEXT = "The average of these numbers is 11."


class Logits:
    def __init__(self, folder: Path) -> None:
        self.folder, self.tokenizer, self.sets = folder, tiny_tokenizer(), 0

    def store(self, *rows: Completion, loss: Loss | None = None, **data: Any) -> TokenStore:
        self.sets += 1
        uri = split_set(self.folder / f"set-{self.sets}", rows)
        loss = loss or logit_loss(self.tokenizer)
        return build_store(uri, "train", self.tokenizer, Data(**data), loss, self.folder / "tokens")

    def refusal(self, *rows: Completion, loss: Loss | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            self.store(*rows, loss=loss)
        return str(caught.value)

    def trained(self, store: TokenStore) -> str:
        return str(self.tokenizer.decode(store.tokens(0)[store.first_trained[0] :]))


@pytest.fixture
def logits(tmp_path: Path) -> Logits:
    return Logits(tmp_path)


def top(store: TokenStore) -> tuple[np.ndarray, np.ndarray]:
    found = store.top_logprobs(0)
    assert found is not None
    return found


def test_lists_stand_beside_the_tokens_that_they_are_of(logits: Logits, completion: MakeRow) -> None:
    row = completion(**said(logits.tokenizer, TEXT))
    store = logits.store(row)
    assert logits.trained(store) == TEXT + "<|im_end|>"
    assert row.tokens is not None
    assert row.top_logprobs is not None
    assert store.tokens(0)[store.first_trained[0] :].tolist() == [token[0] for token in row.tokens]
    ids, logprobs = top(store)
    assert ids.tolist() == [[entry[0] for entry in entries] for entries in row.top_logprobs]
    assert np.allclose(logprobs, [[entry[1] for entry in entries] for entries in row.top_logprobs])


def test_the_teachers_own_tokens_are_trained_where_the_tokenizer_would_join_them(
    logits: Logits, completion: MakeRow
) -> None:
    columns = said(logits.tokenizer, "he")
    letters = [logits.tokenizer.convert_tokens_to_ids(letter) for letter in "he"]
    assert len(columns["tokens"]) == 2, "`he` is one token, and the end of turn another"
    columns["tokens"] = [
        *((number, letter, -1.0) for number, letter in zip(letters, "he", strict=True)),
        columns["tokens"][1],
    ]
    columns["top_logprobs"] = columns["top_logprobs"][:1] * 3
    store = logits.store(completion(**columns))
    assert store.tokens(0)[store.first_trained[0] :].tolist() == [*letters, logits.tokenizer.eos_token_id]


def test_where_the_teacher_told_no_end_of_turn_it_is_trained_without_a_teacher(
    logits: Logits, completion: MakeRow
) -> None:
    store = logits.store(completion(**said(logits.tokenizer, TEXT, end=None)))
    assert logits.trained(store) == TEXT + "<|im_end|>"
    ids, logprobs = top(store)
    assert (ids[-1] == -1).all()
    assert np.isnan(logprobs[-1]).all()
    assert (ids[:-1] >= 0).all()


def test_another_end_than_the_templates_is_not_taught(logits: Logits, completion: MakeRow) -> None:
    store = logits.store(completion(**said(logits.tokenizer, TEXT, end="<|endoftext|>")))
    assert logits.trained(store) == TEXT + "<|im_end|>"
    assert (top(store)[0][-1] == -1).all(), "the teacher's thoughts were of another token"


def test_a_response_that_was_cut_off_ends_without_an_end(logits: Logits, completion: MakeRow) -> None:
    columns = said(logits.tokenizer, "The average of", end=None)
    store = logits.store(completion(**columns, outcome="truncated"))
    assert logits.trained(store) == "The average of"
    assert (top(store)[0] >= 0).all()


def test_cutting_a_row_cuts_its_lists(logits: Logits, completion: MakeRow) -> None:
    store = logits.store(completion(**said(logits.tokenizer, TEXT * 9)), max_tokens=40)
    assert store.lengths[0] == 40
    assert len(top(store)[0]) == 40 - store.first_trained[0]


def test_the_least_likely_of_k_plus_one_is_left_out(logits: Logits, completion: MakeRow) -> None:
    """Servers put the sampled token beside the top k where it isn't among them."""
    columns = said(logits.tokenizer, TEXT)
    columns["top_logprobs"][0] = [(5, -9.0), *columns["top_logprobs"][0]]
    ids, logprobs = top(logits.store(completion(**columns)))
    assert 5 not in ids[0]
    assert sorted(ids[0].tolist()) == sorted(entry[0] for entry in columns["top_logprobs"][0][1:])
    assert not np.isnan(logprobs).any()


def test_a_position_without_a_list_has_no_teacher(logits: Logits, completion: MakeRow) -> None:
    columns = said(logits.tokenizer, TEXT)
    columns["top_logprobs"][1] = []
    ids, _ = top(logits.store(completion(**columns)))
    assert (ids[1] == -1).all()
    assert (ids[2] >= 0).all()


def test_what_a_student_has_no_token_for_goes_to_the_tail(logits: Logits, completion: MakeRow) -> None:
    columns = said(logits.tokenizer, TEXT)
    columns["top_logprobs"][0] = [(1, -1.0), (9_999, -2.0), (2, -9999.0)]
    ids, logprobs = top(logits.store(completion(**columns)))
    assert ids[0].tolist() == [1, -1, -1]
    assert logprobs[0][0] == -1
    assert np.isnan(logprobs[0][1:]).all()


@pytest.mark.parametrize("text", ["Grün ist üblich", "日本", "So 🐝 it is"])
def test_a_token_that_llama_cpp_kept_back_is_found_again(logits: Logits, completion: MakeRow, text: str) -> None:
    """It sends nothing for a token that ends within a character; the text comes with the token that ends it."""
    columns = said(logits.tokenizer, text)
    pieces = Pieces(logits.tokenizer)
    told, lists, pending = [], [], b""
    for (number, _, logprob), entries in zip(columns["tokens"], columns["top_logprobs"], strict=True):
        pending += pieces.bytes_of(number) or b""
        try:
            whole = pending.decode()
        except UnicodeDecodeError:
            continue
        told.append((number, "" if number == logits.tokenizer.eos_token_id else whole, logprob))
        lists.append(entries)
        pending = b""
    assert len(told) < len(columns["tokens"])
    store = logits.store(completion(**columns | {"tokens": told, "top_logprobs": lists}))
    assert logits.trained(store) == text + "<|im_end|>"
    assert store.tokens(0)[store.first_trained[0] :].tolist() == [token[0] for token in columns["tokens"]]
    ids, _ = top(store)
    assert (ids[:, 0] >= 0).sum() == len(told)
    assert (ids[:, 0] == -1).sum() == len(columns["tokens"]) - len(told)


def test_parts_of_characters_told_as_such_are_taken(logits: Logits, completion: MakeRow) -> None:
    columns = said(logits.tokenizer, "日本")
    assert "\ufffd" in columns["tokens"][0][1]
    assert logits.trained(logits.store(completion(**columns))) == "日本<|im_end|>"


def test_a_template_that_begins_for_the_student_is_followed_by_the_teachers_tokens(
    logits: Logits, completion: MakeRow
) -> None:
    logits.tokenizer = tiny_tokenizer(THINKING, eos="<|im_end|>")
    store = logits.store(completion(**said(logits.tokenizer, TEXT)))
    assert logits.trained(store) == f"<think>\n\n</think>\n\n{TEXT}<|im_end|>"
    ids, _ = top(store)
    assert len(ids) == store.lengths[0] - store.first_trained[0]
    assert (ids[0] == -1).all()
    logits.tokenizer = tiny_tokenizer(MISTRAL, eos="</s>", bos="<s>")
    store = logits.store(completion(**said(logits.tokenizer, TEXT, end="</s>")))
    assert logits.trained(store) == f"{TEXT}</s>", (
        "what the teacher sampled came after the prompt, with no space before"
    )


Change = Callable[[dict[str, Any]], None]


def _no_ids(columns: dict[str, Any]) -> None:
    columns["tokens"] = [(None, text, logprob) for _, text, logprob in columns["tokens"]]


def _no_candidate_ids(columns: dict[str, Any]) -> None:
    columns["top_logprobs"] = [[(None, logprob) for _, logprob in entries] for entries in columns["top_logprobs"]]


def _other_ids(columns: dict[str, Any]) -> None:
    columns["tokens"] = [(number + 1, text, logprob) for number, text, logprob in columns["tokens"]]


def _other_text(columns: dict[str, Any]) -> None:
    columns["response"] = "The reasoning was taken off. " + columns["response"]


def _unknown_id(columns: dict[str, Any]) -> None:
    columns["tokens"][0] = (100_000, "The", -1.0)


def _short_list(columns: dict[str, Any]) -> None:
    columns["top_logprobs"][3] = columns["top_logprobs"][3][:1]


def _more_lists(columns: dict[str, Any]) -> None:
    columns["top_logprobs"] = [*columns["top_logprobs"], columns["top_logprobs"][0]]


def _no_distribution(columns: dict[str, Any]) -> None:
    columns["top_logprobs"][2] = [(1, -0.1), (2, -0.1), (3, -0.1)]


REFUSED: dict[str, tuple[Change, str]] = {
    "no tokens": (lambda columns: columns.update(tokens=None), "kept no token ids"),
    "no lists": (lambda columns: columns.update(top_logprobs=None), "kept no top logprobs"),
    "empty lists": (
        lambda columns: columns.update(top_logprobs=[[] for _ in columns["tokens"]]),
        "kept no top logprobs",
    ),
    "tokens without ids": (_no_ids, "kept no token ids"),
    "candidates without ids": (_no_candidate_ids, "kept no token ids"),
    "ids of another tokenizer": (_other_ids, "are other tokens to the student's tokenizer"),
    "an id that it doesn't have": (_unknown_id, "are other tokens to the student's tokenizer"),
    "tokens of more than the response": (_other_text, "say another text than the response"),
    "a list cut by sampling": (_short_list, f"are not loss.teacher.k = {K} a token"),
    "lists of other positions": (_more_lists, "of other positions than their tokens'"),
    "probabilities of no distribution": (_no_distribution, "add up to more than 1"),
    "another k asked": (
        lambda columns: columns.update(sampling='{"top_logprobs":5}'),
        f"with sampling.top_logprobs = 5, and loss.teacher.k is {K}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_logit_data_that_does_not_agree_is_refused_with_its_rows(
    logits: Logits, completion: MakeRow, name: str
) -> None:
    change, wanted = REFUSED[name]
    good, columns = completion(**said(logits.tokenizer, TEXT)), said(logits.tokenizer, TEXT)
    change(columns)
    bad = completion(**columns)
    message = logits.refusal(good, bad)
    assert wanted in message
    assert bad.row_id in message
    assert good.row_id not in message
    assert message.startswith("1 row of train: ")


def test_another_tokenizers_digest_is_refused_before_any_row(logits: Logits, completion: MakeRow) -> None:
    loss = Loss(kind="reverse_kl", teacher=TeacherLogits(tokenizer_sha256="0" * 64, k=K))
    message = logits.refusal(completion(**said(logits.tokenizer, TEXT)), loss=loss)
    assert message.startswith(f"loss.teacher.tokenizer_sha256 is {'0' * 64}, the student's tokenizer ")


@pytest.mark.parametrize(("sampled", "fits"), [(0.7, True), (1.0, False), (None, False)])
def test_a_temperature_other_than_one_has_to_be_the_harvests(
    logits: Logits, completion: MakeRow, sampled: float | None, fits: bool
) -> None:
    columns = said(logits.tokenizer, TEXT)
    asked = {"top_logprobs": K} | ({"temperature": sampled} if sampled is not None else {})
    row, loss = completion(**columns | {"sampling": json.dumps(asked)}), logit_loss(logits.tokenizer, temperature=0.7)
    if fits:
        assert logits.store(row, loss=loss).rows == 1
    else:
        assert "loss.teacher.temperature is 0.7, and they were sampled at 1" in logits.refusal(row, loss=loss)


def test_rounded_logprobs_are_no_reason_to_refuse(logits: Logits, completion: MakeRow) -> None:
    columns = said(logits.tokenizer, TEXT)
    columns["top_logprobs"] = [[(1, round(math.log(0.9), 2)), (2, round(math.log(0.1), 2)), (3, -12.0)]] * len(
        columns["tokens"]
    )
    assert logits.store(completion(**columns)).rows == 1


def test_without_a_loss_that_needs_them_lists_are_not_looked_at(logits: Logits, completion: MakeRow) -> None:
    columns = said(logits.tokenizer, TEXT)
    _other_ids(columns)
    assert logits.store(completion(**columns), loss=Loss()).top_logprobs(0) is None


def test_every_token_of_a_tokenizer_says_its_bytes() -> None:
    tokenizer = tiny_tokenizer()
    pieces = Pieces(tokenizer)
    for text in ("The bicycle", " über", "日本 🐝\n\n"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert b"".join(pieces.bytes_of(number) or b"" for number in ids) == text.encode()
    assert pieces.bytes_of(2) == b"<|im_end|>"
    assert pieces.bytes_of(100_000) is None
    assert pieces.ids_of(b" \xe6") is not None
