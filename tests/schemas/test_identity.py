import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.contract_files import rows_of, table_of
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.identity import leaf_content, leaf_sha256, request_id, row_id
from tutelage.schemas.rows import Completion

MakeRow = Callable[..., Completion]


@dataclass(frozen=True)
class _Request:
    protocol: str = "openai-chat"
    model: str = "SmolLM2-135M-Instruct"
    revision: str | None = "b179c952"
    channel: str = "weights:local"
    messages: tuple[dict[str, str], ...] = ({"role": "user", "content": "Hello"},)
    sampling: Any = None
    sample_index: int = 0

    def id(self) -> str:
        return request_id(**{**vars(self), "sampling": self.sampling or {"max_tokens": 256, "temperature": 0.7}})


# A change of any of these would ask (and pay for) everything again that any user has ever harvested.
@pytest.mark.parametrize(
    ("request_", "golden"),
    [
        (_Request(), "132f82d892b5dd2303745ad3098b927e193f021110e60d61504d588ba93ac498"),
        (_Request(revision=None), "c1db12667fc7c6ede2e87e3f4508b4f873474cb27e03cc324128d6efef2fd959"),
        (
            _Request(sampling={"seed": 7, "temperature": 0.0, "stop": ["\n\n"]}, sample_index=3),
            "7be26e530be2ddddd2a1a25e08b7858be33b6b1b9396a8e7631265fefa2d3c1f",
        ),
        (
            _Request(
                protocol="anthropic-messages",
                messages=({"role": "system", "content": "Répondez."}, {"role": "user", "content": "😀\u2028"}),
            ),
            "bc3f50caa1ac508ba84c3ec5591c0efb0fdc904bd32ff2c62e144747433d9308",
        ),
    ],
)
def test_request_ids_never_change(request_: _Request, golden: str) -> None:
    assert request_.id() == golden


def test_row_ids_never_change() -> None:
    assert row_id("0" * 64) == "37845075d41dc846c3a56b46fa0a9f52c9885f53b485b7ff9faa07ffd72357c6"


@pytest.mark.parametrize(
    "other",
    [
        _Request(protocol="openai-completions"),
        _Request(model="SmolLM2-360M-Instruct"),
        _Request(revision="main"),
        _Request(revision=None),
        _Request(revision=""),
        _Request(channel="host:example"),
        _Request(messages=({"role": "user", "content": "Hello "},)),
        _Request(messages=({"role": "system", "content": "Hello"},)),
        _Request(messages=({"role": "user", "content": "Hello"}, {"role": "user", "content": ""})),
        _Request(sampling={"max_tokens": 257, "temperature": 0.7}),
        _Request(sampling={"max_tokens": 256, "temperature": 0.7, "seed": 0}),
        _Request(sample_index=1),
    ],
    ids=str,
)
def test_whatever_can_change_the_answer_changes_the_request_id(other: _Request) -> None:
    assert other.id() != _Request().id()


@pytest.mark.parametrize(
    "same",
    [
        _Request(sampling={"temperature": 0.7, "max_tokens": 256}),
        _Request(sampling={"temperature": 0.7, "max_tokens": 256.0}),
        _Request(messages=({"content": "Hello", "role": "user"},)),
    ],
    ids=str,
)
def test_another_way_to_write_the_same_request_does_not(same: _Request) -> None:
    assert same.id() == _Request().id()


def test_a_request_without_canonical_form_is_refused() -> None:
    with pytest.raises(ValueError, match="lone surrogate"):
        _Request(messages=({"role": "user", "content": "\ud800"},)).id()


# Rows

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", "\u2028", "%s", "\x00"]
)
logprobs = st.none() | st.floats(-100, 0, width=32)
ids = st.none() | st.integers(0, 2**31 - 1)
counts = st.none() | st.integers(0, 2**31 - 1)
STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(st.tuples(text, text), max_size=3),
    "cost_usd": st.none() | st.decimals(0, 99_999_999, places=12),
    "created_at": st.integers(0, 2**32 * 10**6).map(
        lambda us: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)
    ),
    "obligations": st.lists(text, max_size=2),
    "tokens": st.none() | st.lists(st.tuples(ids, text, logprobs), max_size=3),
    "top_logprobs": st.none() | st.lists(st.lists(st.tuples(ids, logprobs), max_size=3), max_size=3),
    "salt": st.binary(min_size=16, max_size=16).map(bytes.hex),
    "leaf_sha256": st.just(""),
}
BY_TYPE = {str: text, str | None: st.none() | text, int: st.integers(0, 2**31 - 1), int | None: counts}
BY_COLUMN = {name: BY_TYPE.get(kind) for name, kind in Completion.__annotations__.items()} | STRATEGIES
completions = st.builds(Completion, **BY_COLUMN)


def _by_definition(row: Completion) -> str:
    return hashlib.sha256(b"\x00" + bytes.fromhex(row.salt) + canonical_json(leaf_content(row))).hexdigest()


@settings(max_examples=40)
@given(completions)
def test_the_fast_leaf_is_the_leaf_by_definition(row: Completion) -> None:
    assert leaf_sha256(row) == _by_definition(row)


@settings(max_examples=40)
@given(completions)
def test_a_proof_needs_no_canonicaliser_but_python_s_json(row: Completion) -> None:
    content = leaf_content(row)
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert text.encode() == canonical_json(content)
    assert json.loads(text) == content


@settings(max_examples=40)
@given(st.lists(completions, max_size=4))
def test_a_leaf_survives_the_way_through_parquet(rows: list[Completion]) -> None:
    stream = pa.BufferOutputStream()
    pq.write_table(table_of(COMPLETIONS, rows), stream)
    read = list(rows_of(COMPLETIONS, pq.read_table(pa.BufferReader(stream.getvalue()))))
    assert list(map(leaf_sha256, read)) == list(map(leaf_sha256, rows))


OTHER_VALUES: dict[str, Any] = {
    "messages": [("user", "another")],
    "cost_usd": Decimal("0.000001500001"),
    "created_at": datetime(2026, 11, 23, 11, 59, 59, 999_999, UTC),
    "obligations": ["attribution"],
    "tokens": [(1, "a", -0.5)],
    "top_logprobs": [[(1, -0.5)]],
    "salt": "00" * 16,
}


@pytest.mark.parametrize("column", [name for name in Completion._fields if name != "leaf_sha256"])
def test_a_change_of_any_column_changes_the_leaf(column: str, completion: MakeRow) -> None:
    row = completion()
    was = getattr(row, column)
    other = OTHER_VALUES.get(column) or (was + 1 if isinstance(was, int) else f"{was}.")
    assert leaf_sha256(row._replace(**{column: other})) != row.leaf_sha256


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tokens": None}, {"tokens": []}),
        ({"tokens": [(1, "a", -0.5)]}, {"tokens": [(None, "a", -0.5)]}),
        ({"tokens": [(1, "a", -0.5)]}, {"tokens": [(1, "a", None)]}),
        ({"tokens": [(1, "ab", -0.5), (2, "c", -0.5)]}, {"tokens": [(1, "a", -0.5), (2, "bc", -0.5)]}),
        ({"top_logprobs": None}, {"top_logprobs": []}),
        ({"top_logprobs": []}, {"top_logprobs": [[]]}),
        ({"top_logprobs": [[(1, -0.5)], [(2, -1.0)]]}, {"top_logprobs": [[(1, -0.5), (2, -1.0)]]}),
        ({"top_logprobs": [[(1, -0.5)], []]}, {"top_logprobs": [[], [(1, -0.5)]]}),
        ({"reasoning": None}, {"reasoning": ""}),
        ({"reasoning": None}, {"reasoning": "null"}),
        ({"response": "a", "prompt_id": "b"}, {"response": "b", "prompt_id": "a"}),
    ],
    ids=str,
)
def test_look_alikes_have_different_leaves(one: dict[str, Any], other: dict[str, Any], completion: MakeRow) -> None:
    row = completion()
    assert leaf_sha256(row._replace(**one)) != leaf_sha256(row._replace(**other))


@pytest.mark.parametrize("cost", [Decimal("1"), Decimal("1.000000000000"), Decimal("10E-1")])
def test_a_cost_has_one_leaf_however_it_is_written(cost: Decimal, completion: MakeRow) -> None:
    row = completion(cost_usd=cost)
    assert leaf_content(row)["cost_usd"] == "1.000000000000"
    assert row.leaf_sha256 == _by_definition(row._replace(cost_usd=Decimal(1)))
