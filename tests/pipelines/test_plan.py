import json
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.pipelines.config import HarvestConfig, parse_config
from tutelage.pipelines.plan import TEMPLATE_TOKENS, TOKENS_PER_MESSAGE, Plan, make_plan
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import open_parquet, rows_of
from tutelage.schemas.contracts import PLAN, REJECTED
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.identity import request_id
from tutelage.schemas.manifest import TOMBSTONES
from tutelage.schemas.rows import PlannedRequest, RejectedPrompt

CHAT = {
    "name": "chat",
    "protocol": "openai-chat",
    "base_url": "http://127.0.0.1:1/v1",
    "model": "m",
    "channel": "weights:local",
}
CLAUDE = CHAT | {"name": "claude", "protocol": "anthropic-messages"}
LINES = CHAT | {"name": "lines", "protocol": "openai-completions"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_for(
    *prompts: Any, teachers: Sequence[dict[str, Any]] = (CHAT,), file: str = "p.jsonl", **sections: Any
) -> HarvestConfig:
    """A config whose prompts are these: texts, or whole rows."""
    rows = [prompt if isinstance(prompt, dict) else {"prompt": prompt} for prompt in prompts]
    Path(file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = {"version": 1, "prompts": [{"uri": file, "license": "CC0-1.0"}], "teachers": list(teachers)}
    return parse_config(found | {"output": {"uri": "out"}} | sections, "job.yaml")


def planned(folder: Folder, plan: Plan) -> list[PlannedRequest]:
    rows: list[PlannedRequest] = []
    for shard in plan.shards:
        with folder.open(shard.file) as stream:
            found = list(rows_of(PLAN, open_parquet(PLAN, stream, shard.file).read()))
        assert len(found) == shard.requests
        rows += found
    assert len(rows) == plan.requests
    return rows


def rejected(folder: Folder) -> list[RejectedPrompt]:
    if not folder.exists("rejected.parquet"):
        return []
    with folder.open("rejected.parquet") as stream:
        return list(rows_of(REJECTED, open_parquet(REJECTED, stream, "rejected.parquet").read()))


def made(config: HarvestConfig, *, limit: int | None = None) -> tuple[Plan, list[PlannedRequest], list[RejectedPrompt]]:
    folder = Folder("out")
    plan = make_plan(config, folder, limit=limit)
    return plan, planned(folder, plan), rejected(folder)


def test_every_prompt_becomes_a_request_with_its_origin_and_licence() -> None:
    plan, rows, _ = made(config_for({"id": "a", "prompt": "why?"}, {"id": "b", "prompt": "how?"}))
    by_id = {row.prompt_id: row for row in rows}
    assert by_id.keys() == {"a", "b"}
    row = by_id["b"]
    assert row.messages == [("user", "how?")]
    assert (row.teacher, row.prompt_source, row.prompt_source_row, row.prompt_license) == (
        "chat",
        "p.jsonl",
        2,
        "CC0-1.0",
    )
    assert json.loads(row.sampling) == {"max_tokens": 256}
    assert (plan.prompts, plan.requests, plan.unusable) == (2, 2, 0)


def test_prompt_tokens_are_estimated_from_bytes_and_messages() -> None:
    _, (row,), _ = made(config_for({"messages": [{"role": role, "content": "x" * 35} for role in ("system", "user")]}))
    assert row.estimated_prompt_tokens == 20 + 1 + 2 * TOKENS_PER_MESSAGE


def test_the_same_text_under_two_ids_is_asked_once_and_the_second_points_at_the_request() -> None:
    plan, rows, (duplicate,) = made(config_for({"id": "a", "prompt": "why?"}, {"id": "b", "prompt": "why?"}))
    (row,) = rows
    assert row.prompt_id == "a"
    assert (duplicate.cause, duplicate.prompt_id) == ("duplicate_request", "b")
    assert duplicate.duplicate_of == row.request_id
    assert (plan.unusable, plan.first_rejected) == (0, []), "a duplicate was answered, so nothing failed"


def test_an_id_that_stands_before_another_text_already_is_rejected() -> None:
    plan, rows, (second,) = made(config_for({"id": "a", "prompt": "why?"}, {"id": "a", "prompt": "how?"}))
    assert [row.messages for row in rows] == [[("user", "why?")]]
    assert (second.cause, second.prompt_source_row, second.duplicate_of) == ("duplicate_id", 2, None)
    assert "'a' stands before another text already" in second.detail
    assert plan.unusable == 1


def test_the_text_of_a_rejected_duplicate_id_can_be_asked_under_another_id() -> None:
    _, rows, _ = made(
        config_for({"id": "a", "prompt": "why?"}, {"id": "a", "prompt": "how?"}, {"id": "b", "prompt": "how?"})
    )
    assert {row.prompt_id for row in rows} == {"a", "b"}


def test_samples_differ_by_seed_and_index_and_are_requests_of_their_own() -> None:
    _, rows, _ = made(config_for("why?", sampling={"samples": 3, "seed": 7}))
    assert sorted((row.sample_index, json.loads(row.sampling)["seed"]) for row in rows) == [(0, 7), (1, 8), (2, 9)]
    assert len({row.request_id for row in rows}) == 3


def test_the_id_is_that_of_the_canonical_request_whatever_the_names_and_texts_hold() -> None:
    odd = '"messages":[] \\ ü \U0001f600'
    teacher = CHAT | {"channel": f"api:{odd}", "model": odd, "revision": odd}
    extra = {"messages2": [], odd: {"messages": []}}
    (row,) = made(config_for(odd, teachers=[teacher], sampling={"extra": extra, "stop": [odd]}))[1]
    assert row.request_id == request_id(
        protocol="openai-chat",
        model=odd,
        revision=odd,
        channel=f"api:{odd}",
        messages=[{"role": "user", "content": odd}],
        sampling={"max_tokens": 256, "extra": extra, "stop": [odd]},
        sample_index=0,
    )


def test_samples_without_a_seed_are_requests_of_their_own_too() -> None:
    _, rows, _ = made(config_for("why?", sampling={"samples": 2}))
    assert len({row.request_id for row in rows}) == 2
    assert len({row.sampling for row in rows}) == 1


def test_two_teachers_are_asked_the_same_and_lie_in_files_of_their_own() -> None:
    plan, rows, _ = made(config_for("why?", "how?", teachers=[CHAT, CLAUDE]))
    assert Counter(row.teacher for row in rows) == {"chat": 2, "claude": 2}
    assert len({row.request_id for row in rows}) == 4
    assert all(shard.file.startswith(f"plan/{shard.teacher}-") for shard in plan.shards)


def test_a_prompt_that_one_teachers_protocol_cannot_express_is_still_asked_of_the_other() -> None:
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    plan, rows, (mismatch,) = made(config_for({"messages": turns}, teachers=[LINES, CHAT]))
    assert [row.teacher for row in rows] == ["chat"]
    assert mismatch.cause == "protocol_mismatch"
    assert mismatch.detail.startswith("lines: found messages of roles user, assistant, user")
    assert plan.unusable == 1


def test_a_limit_plans_the_first_requests_and_no_more() -> None:
    config = config_for(*"abcdef", sampling={"samples": 2})
    plan, rows, _ = made(config, limit=5)
    assert (plan.prompts, plan.requests) == (3, 5), "what comes after the last request is not read"
    assert Counter(row.messages[0][1] for row in rows) == {"a": 2, "b": 2, "c": 1}
    whole, more, _ = made(config)
    assert whole.requests == 12
    assert {row.request_id for row in rows} < {row.request_id for row in more}


def test_what_was_withdrawn_is_not_planned_again() -> None:
    config = config_for({"id": "a", "prompt": "why?"}, {"id": "b", "prompt": "how?"}, sampling={"samples": 2})
    _, rows, _ = made(config)
    ours = [row for row in rows if row.prompt_id == "a"]
    stones = [
        {
            "row_id": row.request_id,
            "request_id": row.request_id,
            "leaf_sha256": "",
            "reason": "asked to",
            "withdrawn_at": "2026-01-01T00:00:00Z",
        }
        for row in ours
    ]
    Folder("out").write(TOMBSTONES, "".join(json.dumps(stone) + "\n" for stone in stones[:1]).encode())
    _, rows, _ = made(config)
    assert Counter(row.prompt_id for row in rows) == {"a": 1, "b": 2}, "one sample is withdrawn, the other stays"
    Folder("out").write(TOMBSTONES, "".join(json.dumps(stone) + "\n" for stone in stones).encode())
    plan, rows, (gone,) = made(config)
    assert Counter(row.prompt_id for row in rows) == {"b": 2}
    assert (gone.cause, gone.prompt_id, plan.unusable) == ("withdrawn", "a", 0)


def test_rows_that_cannot_be_asked_are_kept_with_their_cause_and_the_rest_is_planned() -> None:
    config = config_for("fine", {"prompt": None}, {"prompt": "a\0"}, {"id": "x", "prompt": 3}, "fine too")
    plan, rows, bad = made(config)
    assert len(rows) == 2
    assert [(row.prompt_source_row, row.cause) for row in bad] == [(2, "no_text"), (3, "nul"), (4, "wrong_type")]
    assert plan.rejected == {"no_text": 1, "nul": 1, "wrong_type": 1}
    assert (plan.prompts, plan.unusable) == (5, 3)
    assert plan.first_rejected == bad


def test_a_reason_that_quotes_a_lone_surrogate_can_be_stored() -> None:
    config_for("x")
    Path("p.jsonl").write_bytes(b'{"\\ud800": "x"}\n')
    _, _, (bad,) = made(config_for("x", file="other.jsonl", prompts=[{"uri": "p.jsonl"}]))
    assert "fields found: ?" in bad.detail


def test_what_no_protocol_can_express_is_refused_before_a_prompt_is_read() -> None:
    config = config_for("x", teachers=[CHAT, CLAUDE], sampling={"seed": 7}, prompts=[{"uri": "absent.jsonl"}])
    with pytest.raises(ConfigError, match=r"teacher claude \(anthropic-messages\): .*'seed'"):
        make_plan(config, None)


def test_plan_files_carry_their_contract() -> None:
    plan, _, _ = made(config_for("why?", {"prompt": None}))
    assert pq.read_schema(f"out/{plan.shards[0].file}").metadata[b"tutelage.contract"] == b"plan/1"
    assert pq.read_schema("out/rejected.parquet").metadata[b"tutelage.contract"] == b"rejected/1"


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path("out").rglob("*")) if path.is_file()}


def test_the_same_prompts_make_the_same_bytes() -> None:
    config = config_for(*map(str, range(50)), {"prompt": None}, sampling={"samples": 2})
    make_plan(config, Folder("out"))
    first = contents()
    make_plan(config, Folder("out"))
    assert contents() == first
    assert len(first) == 9, "eight shards and the rejected rows"


def test_a_plan_with_fewer_rows_leaves_no_file_of_the_one_before() -> None:
    make_plan(config_for(*map(str, range(50)), {"prompt": None}), Folder("out"))
    plan, _, _ = made(config_for("one"))
    assert list(contents()) == [f"out/{plan.shards[0].file}"]


def test_a_plan_that_fails_midway_leaves_the_one_before_as_it_was() -> None:
    make_plan(config_for(*map(str, range(50))), Folder("out"))
    before = contents()
    broken = config_for("new", file="q.jsonl", prompts=[{"uri": "q.jsonl"}, {"uri": "absent.jsonl"}])
    with pytest.raises(ConfigError, match=r"absent\.jsonl"):
        make_plan(broken, Folder("out"))
    assert contents() == before


def test_a_plan_without_a_folder_counts_the_same_and_writes_nothing() -> None:
    config = config_for(*map(str, range(20)), {"prompt": None}, sampling={"samples": 2})
    counted = make_plan(config, None)
    assert not Path("out").exists()
    assert counted == make_plan(config, Folder("out"))


TEXT = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() and "\0" not in text)
TEXTS = st.lists(TEXT, unique=True, max_size=8)


@settings(max_examples=25)
@given(TEXTS, TEXTS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_added_prompts_move_no_request_to_another_shard(
    texts: list[str], added: list[str], shards: int, random: Any
) -> None:
    def files(prompts: list[str]) -> dict[str, str]:
        folder = Folder("memory://plan-test")
        plan = make_plan(config_for(*prompts, output={"uri": "out", "shards": shards}), folder)
        found = {}
        for shard in plan.shards:
            with folder.open(shard.file) as stream:
                found |= dict.fromkeys(pq.read_table(stream)["request_id"].to_pylist(), shard.file)
        return found

    before = files(texts)
    more = texts + added
    random.shuffle(more)
    after = files(more)
    assert before.items() <= after.items()
    assert len(after) == len({*texts, *added})


PRICE = st.decimals(min_value=0, max_value=100, places=6)


@given(
    st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4), PRICE, PRICE, st.integers(1, 9), st.booleans()
)
def test_the_cost_is_the_exact_upper_bound_over_every_sample(
    texts: list[str], price_in: Decimal, price_out: Decimal, samples: int, again: bool
) -> None:
    prices = {"input": str(price_in), "output": str(price_out)}
    retry = {"truncated_max_tokens": 500} if again else {}
    config = config_for(
        *texts,
        teachers=[CHAT | {"price_usd_per_million_tokens": prices}],
        sampling={"samples": samples, "max_tokens": 100},
        retry=retry,
    )
    plan = make_plan(config, None)
    asked = {text for text in texts if text.strip() and "\0" not in text}
    calls = 2 if again else 1
    most_in = sum(len(text.encode()) + TOKENS_PER_MESSAGE + TEMPLATE_TOKENS for text in asked) * samples * calls
    most_out = len(asked) * samples * (600 if again else 100)
    assert plan.teachers["chat"].completion_tokens_at_most == most_out
    wanted = (Fraction(price_in) * most_in + Fraction(price_out) * most_out) / 10**6
    assert Fraction(plan.cost_at_most_usd) == wanted
    assert Fraction(Decimal(plan.to_json()["cost_usd_at_most"])) == wanted


def test_costs_in_json_are_plain_decimals() -> None:
    plan = make_plan(config_for("x"), None)
    assert plan.to_json()["cost_usd_at_most"] == "0.000000000000"


def test_memory_does_not_grow_by_more_than_two_digests_a_prompt() -> None:
    text = "x" * 1000
    many = config_for(*(f"{number} {text}" for number in range(1500)))
    few = config_for(*(f"{number} {text}" for number in range(500)), file="few.jsonl")
    few = few.model_copy(update={"prompts": (few.prompts[0].model_copy(update={"uri": ("few.jsonl",)}),)})

    def peak(config: HarvestConfig) -> int:
        tracemalloc.start()
        make_plan(config, None)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(few)  # what is loaded once
    assert (peak(many) - peak(few)) / 1000 < 400
