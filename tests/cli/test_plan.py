import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tutelage.cli import main
from tutelage.schemas.errors import ConfigError

SMOL: dict[str, Any] = {
    "name": "smol",
    "protocol": "openai-chat",
    "base_url": "http://127.0.0.1:8080/v1",
    "model": "SmolLM2-135M-Instruct",
    "channel": "weights:local",
    "terms": "smollm2-apache-2.0",
    "price_usd_per_million_tokens": {"input": 1, "output": "2.5"},
}
GPT = {
    "name": "gpt",
    "protocol": "openai-chat",
    "base_url": "https://api.openai.com/v1",
    "model": "gpt-5.2",
    "channel": "api:openai",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(*prompts: Any, teachers: tuple[dict[str, Any], ...] = (SMOL,), **sections: Any) -> str:
    rows = [prompt if isinstance(prompt, dict) else {"prompt": prompt} for prompt in prompts]
    Path("p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {
        "version": 1,
        "prompts": [{"uri": "p.jsonl", "license": "CC0-1.0"}],
        "teachers": list(teachers),
        "sampling": {"max_tokens": 100},
        "output": {"uri": "out"},
    }
    Path("job.yaml").write_text(yaml.safe_dump(found | sections))
    return "job.yaml"


def call(*args: str) -> Result:
    return CliRunner().invoke(main.app, args)


def lines(result: Result) -> list[str]:
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_a_plan_is_a_table_of_requests_tokens_cost_and_terms() -> None:
    result = call("plan", job("why?", "how?"))
    assert result.exit_code == 0
    title, header, row, *rest = lines(result)
    assert title == "2 prompts, 2 requests -> out"
    assert header.split() == ["teacher", "requests", "tokens", "in", "tokens", "out", "USD", "terms"]
    # 2 x (4 bytes + 4 a message + 64 for a template) tokens in, 2 x 100 out: 144 + 500 millionths of a dollar.
    assert row.split()[:5] == ["smol", "2", "~12", "<=200", "<=0.0007"]
    assert "allow" in row
    assert "permitted" in row
    assert not any("not asked" in line for line in rest)


def test_a_plan_in_json_is_one_object_with_the_exact_cost() -> None:
    result = call("plan", job("why?", "how?", "how?"), "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["prompts"] == 3
    assert found["requests"] == 2
    assert found["output"] == "out"
    assert found["rejected"] == {"duplicate_request": 1}
    assert found["cost_usd_at_most"] == "0.000644000000"
    assert found["teachers"]["smol"]["completion_tokens_at_most"] == 200
    (terms,) = found["terms"]
    assert (terms["teacher"], terms["permitted"]) == ("smol", True)
    assert terms["entries"].keys() == {"smollm2-apache-2.0", "CC0-1.0"}
    assert result.stderr == ""


def test_a_plan_writes_nothing_and_needs_no_key() -> None:
    config = job("why?", teachers=(SMOL | {"api_key_env": "NOT_SET_ANYWHERE"},))
    assert call("plan", config).exit_code == 0
    assert sorted(path.name for path in Path().iterdir()) == ["job.yaml", "p.jsonl"]


def test_a_refused_teacher_ends_with_3_and_its_reasons() -> None:
    result = call("plan", job("why?", {"prompt": None}, teachers=(SMOL, GPT)))
    assert result.exit_code == 3
    assert "deny_competing:" in result.stdout
    assert "REFUSED" in result.stdout
    assert any(line.startswith("  gpt: refused: openai-api forbids competing models") for line in lines(result))
    assert call("plan", "job.yaml", "--json").exit_code == 3
    assert not json.loads(call("plan", "job.yaml", "--json").stdout)["terms"][1]["permitted"]


def test_rows_that_cannot_be_asked_end_with_5_and_are_told_with_file_and_row() -> None:
    result = call("plan", job("why?", {"prompt": None}, {"prompt": "a\0b", "id": "[bold]"}, "why?"))
    assert result.exit_code == 5
    told = lines(result)
    assert "1 prompt rows are not asked: no_text" in told
    assert "1 prompt rows are not asked: duplicate_request" in told
    assert "  p.jsonl:2: no_text: 'prompt' is null" in told
    assert "  p.jsonl:3: nul: the text holds a NUL character" in told


def test_duplicates_alone_are_no_failure() -> None:
    assert call("plan", job("why?", "why?")).exit_code == 0


def test_square_brackets_in_paths_and_reasons_are_no_markup() -> None:
    Path("x[red].jsonl").write_text('{"[b]": 1}\n')
    config = job("x", prompts=[{"uri": "x[[]red].jsonl", "license": "CC0-1.0"}], output={"uri": "out[red]"})
    told = lines(call("plan", config))
    assert told[0] == "1 prompts, 0 requests -> out[red]"
    assert "  x[red].jsonl:1: no_text: no field 'prompt' (fields found: [b]); set text_field or template" in told


def test_numbers_stay_whole_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = SMOL | {"name": "a-teacher-with-a-very-long-name-" + "x" * 30}
    prices = {"input": 1000, "output": 1000}
    config = job("why?", teachers=(long | {"price_usd_per_million_tokens": prices},), sampling={"max_tokens": 12345678})
    result = call("plan", config)
    assert all(len(line) <= 80 for line in lines(result))
    assert "<=12,345,678" in result.stdout
    assert "<=12,345.7500" in result.stdout


def test_a_cost_too_small_to_show_is_rounded_up_and_not_away() -> None:
    config = job("x", teachers=(SMOL | {"price_usd_per_million_tokens": {"input": "0.000001"}},))
    assert "<=0.0001" in call("plan", config).stdout


def entered(monkeypatch: pytest.MonkeyPatch, *args: str) -> int | str | None:
    """The exit code of the command as a shell would call it."""
    monkeypatch.setattr("sys.argv", ["tutelage", *args])
    with pytest.raises(SystemExit) as caught:
        main.run()
    return caught.value.code


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda: Path("job.yaml").unlink(), "tutelage: job.yaml: can't be read"),
        (lambda: Path("p.jsonl").unlink(), "tutelage: prompts: there is no file p.jsonl"),
        (
            lambda: job("x", sampling={"temprature": 1}),
            "tutelage: job.yaml: unknown key 'sampling.temprature'; did you",
        ),
        (lambda: job("x", sampling={"seed": 1}, teachers=(CLAUDE,)), "tutelage: teacher claude (anthropic-messages):"),
    ],
)
def test_an_unusable_config_ends_with_2_and_a_message_on_stderr(
    spoil: Callable[[], Any], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job("why?")
    spoil()
    assert entered(monkeypatch, "plan", "job.yaml", "--json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)


CLAUDE = SMOL | {"name": "claude", "protocol": "anthropic-messages"}


@pytest.mark.parametrize(("args", "code"), [(["plan", "job.yaml"], 0), (["plan"], 2), (["paln"], 2), (["--help"], 0)])
def test_a_command_ends_with_its_exit_code(args: list[str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    job("why?")
    assert entered(monkeypatch, *args) == code


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--max_usd", "--max-usd"),
        ("--maxusd=5", "--max-usd"),
        ("--max-uds", "--max-usd"),
        ("--limits=3", "--limit"),
        ("--reparsed", "--reparse"),
    ],
)
def test_a_mistyped_option_of_ours_never_goes_to_beam(option: str, meant: str) -> None:
    result = call("harvest", job("why?"), option, "5")
    assert isinstance(result.exception, ConfigError)
    assert f"unknown option {option!r}; did you mean {meant}?" in str(result.exception)
    assert not Path("out").exists()


def test_a_second_config_is_refused() -> None:
    result = call("harvest", job("why?"), "other.yaml")
    assert isinstance(result.exception, ConfigError)
    assert "found 'other.yaml' after the config" in str(result.exception)


@pytest.mark.parametrize("amount", ["five", "-1", "nan", "inf", "5 USD", ""])
def test_a_cap_that_is_no_amount_is_refused(amount: str) -> None:
    result = call("harvest", job("why?"), f"--max-usd={amount}")
    assert isinstance(result.exception, ConfigError)
    assert f"--max-usd {amount!r}: an amount of US dollars was wanted" in str(result.exception)
