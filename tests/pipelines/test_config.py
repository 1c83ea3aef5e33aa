import copy
import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tutelage.pipelines.config import HarvestConfig, Prices, config_schema, load_config, parse_config
from tutelage.schemas.errors import ConfigError

SCHEMA = Path(__file__).parents[2] / "docs" / "config.schema.json"
REGENERATE = (
    ".venv/bin/python -c 'import json; from tutelage.pipelines.config import config_schema; "
    "print(json.dumps(config_schema(), indent=2))' > docs/config.schema.json"
)
LEAST: dict[str, Any] = {
    "version": 1,
    "prompts": [{"uri": "prompts.jsonl"}],
    "teachers": [
        {
            "name": "smol",
            "protocol": "openai-chat",
            "base_url": "http://127.0.0.1:8080/v1",
            "model": "SmolLM2",
            "channel": "weights:local",
        }
    ],
    "output": {"uri": "out"},
}
PRICE = st.decimals(min_value=0, max_value=1000, places=6)
TOKENS = st.integers(min_value=0, max_value=2**31)


def config_with(path: str = "", value: Any = None) -> dict[str, Any]:
    """The least config with one value set at a dotted path; "teachers.0.name" is the first teacher's name."""
    found = copy.deepcopy(LEAST)
    place: Any = found
    *steps, last = path.split(".") if path else [""]
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if path:
        place[last] = value
    return found


def parsed(path: str = "", value: Any = None) -> HarvestConfig:
    return parse_config(config_with(path, value), "job.yaml")


def refusal(path: str, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(path, value)
    return str(caught.value)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_of_the_design_is_read_with_exact_prices_and_caps(tmp_path: Path) -> None:
    config = load_config(
        written(
            tmp_path,
            """
version: 1
prompts:
  - {uri: examples/prompts.jsonl, license: CC0-1.0}
teachers:
  - name: smollm2
    protocol: openai-chat
    base_url: http://127.0.0.1:8080/v1
    model: SmolLM2-135M-Instruct
    revision: b179c952
    channel: weights:local
    api_key_env: null
    terms: smollm2-apache-2.0
    limits: {max_in_flight: 64, requests_per_minute: null, tokens_per_minute: null}
    price_usd_per_million_tokens: {input: 0.15, output: 0.6}
sampling: {temperature: 0.7, max_tokens: 256, samples: 1, seed: 7, top_logprobs: 20}
policy: {distributed: true, competes_with_teacher: true}
budget: {max_usd: 5.00}
output: {uri: harvests/demo, shards: 8}
""",
        )
    )
    (teacher,) = config.teachers
    assert teacher.price_usd_per_million_tokens.output == Decimal("0.6")
    assert config.budget.max_usd == 5
    assert config.prompts[0].uri == ("examples/prompts.jsonl",)
    assert teacher.terms == ("smollm2-apache-2.0",)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("promts", "did you mean 'prompts'?"),
        ("prompts.0.licence", "did you mean 'license'?"),
        ("teachers.0.modle", "did you mean 'model'?"),
        ("teachers.0.limits.max_inflight", "did you mean 'max_in_flight'?"),
        ("teachers.0.price_usd_per_million_tokens.ouput", "did you mean 'output'?"),
        ("sampling.temprature", "did you mean 'temperature'?"),
        ("policy.distribute", "did you mean 'distributed'?"),
        ("budget.max_us", "did you mean 'max_usd'?"),
        ("retry.max_attempt", "did you mean 'max_attempts'?"),
        ("output.url", "did you mean 'uri'?"),
        ("teachers.0.limits.xyzzy", "known: max_in_flight, requests_per_minute, tokens_per_minute"),
    ],
)
def test_an_unknown_key_at_any_depth_is_named_with_the_nearest_known_one(path: str, advice: str) -> None:
    assert refusal(path, 1).splitlines()[0] == f"job.yaml: unknown key {path!r}; {advice}"


def test_an_unknown_key_of_an_override_is_named_too() -> None:
    override = {"approver": "a", "reason": "r", "scope": "s", "expire": "2030-01-01"}
    assert "unknown key 'overrides.0.expire'; did you mean 'expires'?" in refusal("overrides", [override])


def test_every_problem_is_told_at_once() -> None:
    broken = config_with("sampling", {"temperature": -1, "samples": 0, "seeds": 3})
    del broken["teachers"][0]["model"]
    broken["output"] = {"uri": "out", "shards": 0}
    with pytest.raises(ConfigError) as caught:
        parse_config(broken, "job.yaml")
    assert str(caught.value).splitlines() == [
        "job.yaml: teachers.0.model is missing",
        "job.yaml: sampling.temperature: found -1, it should be greater than or equal to 0",
        "job.yaml: sampling.samples: found 0, it should be greater than or equal to 1",
        "job.yaml: unknown key 'sampling.seeds'; did you mean 'seed'?",
        "job.yaml: output.shards: found 0, it should be greater than or equal to 1",
    ]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("teachers", {}, "teachers: found dict, a list was wanted"),
        ("teachers", [], "teachers: found list, at least one entry was wanted"),
        ("prompts", [{"uri": []}], "prompts.0.uri: found list, at least one entry was wanted"),
        ("prompts.0.uri", 3, "prompts.0.uri: found 3, a list was wanted"),
        ("sampling", "hot", "sampling: found str, a mapping was wanted"),
        ("version", 2, "version: found 2, it should be 1"),
        ("sampling.temperature", float("inf"), "sampling.temperature: found inf, it should be a finite number"),
        ("sampling.extra", {"seed2": 2**60}, "sampling: can't be hashed: the integer"),
        ("teachers.0.price_usd_per_million_tokens.input", 0.0000001, "no more than 6 decimal places"),
        ("teachers.0.price_usd_per_million_tokens", {"input": 1, "cached_input": 2}, "cached_input is 2, input only 1"),
        ("teachers.0.name", "Smol LM", "'Smol LM' names files: use lower-case letters"),
    ],
)
def test_a_wrong_value_is_told_with_its_place_and_what_was_wanted(path: str, value: Any, said: str) -> None:
    assert said in refusal(path, value)


@pytest.mark.parametrize(
    "pasted", ["sk-proj-s3cr3t", "gsk_s3cr3tABC", "hf_s3cr3t", "AIzaSyS3cr3t", "", "A" * 65, "A B"]
)
def test_a_key_pasted_where_its_variable_is_named_is_refused_and_never_repeated(pasted: str) -> None:
    message = refusal("teachers.0.api_key_env", pasted)
    assert "teachers.0.api_key_env: wants the name of an environment variable" in message
    assert pasted == "" or pasted not in message


@pytest.mark.parametrize(
    "url",
    [
        "https://user:s3cr3t@api.example.com/v1",
        "https://s3cr3t@api.example.com/v1",
        "https://api.example.com/v1?api_key=s3cr3t",
        "https://api.example.com/v1?code=s3cr3t",
        "https://api.example.com/v1#s3cr3t",
        "https://s3cr3t:s3cr3t@[::1/v1",  # urlsplit's own complaints quote what they complain of
        "https://s3cr3t\u2100@example.com",
        "https://example.com:s3cr3t/v1",
        "s3cr3t@example.com",
        "ftp://s3cr3t.example.com",
        "https://",
    ],
)
def test_a_base_url_with_a_credential_or_without_a_host_is_refused_and_never_repeated(url: str) -> None:
    message = refusal("teachers.0.base_url", url)
    assert "teachers.0.base_url: " in message
    assert "s3cr3t" not in message


@pytest.mark.parametrize("path", ["prompts.0.uri", "output.uri"])
def test_a_password_in_a_file_uri_is_refused_since_rows_repeat_it(path: str) -> None:
    message = refusal(path, "ftp://me:s3cr3t@host/prompts.jsonl")
    assert "has a password in it" in message
    assert "s3cr3t" not in message
    assert parsed(path, "abfs://container@account.dfs.core.windows.net/prompts.jsonl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("teachers:\n  api_key_env: sk-s3cr3t: x\n", "line 2, column 25: mapping values are not allowed here"),
        ("key: [s3cr3t\n", "expected ',' or ']'"),
        ("key: s3cr3t\nkey: other\n", "line 2, column 1: the key 'key' stands twice"),
        ("key: s3cr3t\0\n", "a character that YAML forbids"),
        ("key: s3cr3t\n? [a]\n: b\n", "found unhashable key"),
        ("- s3cr3t\n", "holds list, a mapping with version, prompts, teachers… was wanted"),
        ("s3cr3t\n", "holds str, a mapping"),
        ("", "holds nothing, a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_with_its_place_and_never_quoted(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text))
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_yaml_anchors_and_merges_are_no_doubled_keys(tmp_path: Path) -> None:
    document = yaml.safe_dump(LEAST | {"retry": {"timeout_s": 1, "deadline_s": 2}})
    merged = document.replace("retry:\n", "retry:\n  <<: {max_attempts: 3, deadline_s: 9}\n")
    assert load_config(written(tmp_path, merged)).retry.model_dump(include={"max_attempts", "deadline_s"}) == {
        "max_attempts": 3,
        "deadline_s": 2,
    }


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b"\xff"), lambda path: None])
def test_a_config_that_cannot_be_read_says_so(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "job.yaml"
    make(path)
    with pytest.raises(ConfigError, match=r"job\.yaml: can't be read .*`tutelage init`"):
        load_config(path)


@pytest.mark.parametrize("found", [None, "", "  "])
def test_a_missing_key_variable_is_a_usage_error_that_names_it(
    found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    if found is not None:
        monkeypatch.setenv("TEACHER_KEY", found)
    teacher = parsed("teachers.0.api_key_env", "TEACHER_KEY").teachers[0]
    with pytest.raises(ConfigError, match="teacher smol: the environment variable TEACHER_KEY is not set") as caught:
        teacher.api_key()
    assert caught.value.exit_code == 2


def test_a_base_url_ends_before_the_path_that_is_appended() -> None:
    assert parsed("teachers.0.base_url", "https://example.com/v1/").teachers[0].base_url == "https://example.com/v1"


def test_a_key_comes_from_the_environment_without_the_newline_that_a_file_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sk-1\n")
    assert parsed("teachers.0.api_key_env", "TEACHER_KEY").teachers[0].api_key() == "sk-1"
    assert parsed().teachers[0].api_key() is None


@pytest.mark.parametrize("key", ["sk-s3cr3t\nX-Other: 1", "s3cr3t\u201d"])
def test_a_key_that_no_header_carries_is_refused_and_never_repeated(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", key)
    with pytest.raises(ConfigError, match="the key in TEACHER_KEY holds a line break or a character beyond") as caught:
        parsed("teachers.0.api_key_env", "TEACHER_KEY").teachers[0].api_key()
    assert "s3cr3t" not in str(caught.value)


def test_two_teachers_of_one_name_or_of_one_identity_are_refused() -> None:
    teacher = LEAST["teachers"][0]
    assert "two teachers are named 'smol'" in refusal("teachers", [teacher, teacher | {"model": "other"}])
    twin = teacher | {"name": "twin", "base_url": "http://127.0.0.1:8081/v1"}
    assert "'smol' and 'twin' have the same protocol, model, revision and channel" in refusal(
        "teachers", [teacher, twin]
    )
    assert parsed("teachers", [teacher, twin | {"revision": "2"}])


def test_each_sample_has_its_own_seed_and_absent_keys_are_not_sent() -> None:
    extra = {"logit_bias": {"50256": -100}, "user": None}
    sampling = parsed("sampling", {"seed": 7, "samples": 3, "stop": ["END"], "extra": extra}).sampling
    assert [sampling.of_sample(index) for index in range(2)] == [
        {"max_tokens": 256, "stop": ["END"], "seed": 7, "extra": extra},
        {"max_tokens": 256, "stop": ["END"], "seed": 8, "extra": extra},
    ]
    assert "seed" not in parsed("sampling", {"samples": 3}).sampling.of_sample(2)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("prompts", [{"uri": "more.jsonl"}]),
        ("teachers.0.base_url", "http://elsewhere:1/v1"),
        ("teachers.0.limits", {"max_in_flight": 1}),
        ("teachers.0.price_usd_per_million_tokens", {"input": 1}),
        ("teachers.0.api_key_env", "KEY"),
        ("budget", {"max_usd": 1}),
        ("retry", {"max_attempts": 1}),
        ("output.uri", "elsewhere"),
    ],
)
def test_what_may_change_between_runs_is_no_part_of_the_identity(path: str, value: Any) -> None:
    assert parsed(path, value).identity() == parsed().identity()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("teachers.0.model", "other"),
        ("teachers.0.revision", "2"),
        ("teachers.0.channel", "api:x"),
        ("teachers.0.terms", "own-model"),
        ("teachers.0.protocol", "openai-completions"),
        ("sampling", {"temperature": 0}),
        ("sampling", {"samples": 2}),
        ("output.shards", 9),
    ],
)
def test_what_makes_other_rows_is_part_of_the_identity(path: str, value: Any) -> None:
    assert parsed(path, value).identity() != parsed().identity()


def test_one_terms_id_and_a_list_of_it_are_the_same_config() -> None:
    assert parsed("teachers.0.terms", "a") == parsed("teachers.0.terms", ["a"])


@given(price_in=PRICE, price_out=PRICE, share=st.fractions(0, 1), prompt=TOKENS, completion=TOKENS, cached=TOKENS)
def test_a_cost_is_exact_to_the_last_pico_dollar(
    price_in: Decimal, price_out: Decimal, share: Fraction, prompt: int, completion: int, cached: int
) -> None:
    price_cached = Decimal(int(Fraction(price_in) * share * 10**6)).scaleb(-6)
    cached = min(cached, prompt)
    prices = Prices(input=price_in, output=price_out, cached_input=price_cached)
    usd = (
        Fraction(price_in) * (prompt - cached) + Fraction(price_cached) * cached + Fraction(price_out) * completion
    ) / 10**6
    assert prices.pico().cost(prompt, completion, cached) == usd * 10**12


def test_cached_tokens_cost_as_others_where_no_price_is_given() -> None:
    prices = Prices(input=Decimal(3), output=Decimal(0)).pico()
    assert prices.cost(100, 0, 40) == prices.cost(100, 0) == 300_000_000


def test_the_published_schema_is_current() -> None:
    assert json.loads(SCHEMA.read_text()) == config_schema(), f"the config changed; regenerate it: {REGENERATE}"


def test_the_published_schema_knows_the_least_config_and_refuses_an_unknown_key() -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert validator.is_valid(LEAST)
    assert not validator.is_valid(config_with("sampling.temprature", 1))
