import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tutelage.cli.terms import app
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_register import Register

CONFIG: dict[str, Any] = {
    "version": 1,
    "prompts": [{"uri": "prompts.jsonl", "license": "CC0-1.0"}],
    "teachers": [
        {
            "name": "smollm2",
            "protocol": "openai-chat",
            "base_url": "http://127.0.0.1:8080/v1",
            "model": "SmolLM2-135M-Instruct",
            "channel": "weights:local",
            "terms": "smollm2-apache-2.0",
        }
    ],
    "policy": {"distributed": True, "competes_with_teacher": True},
    "output": {"uri": "harvests/demo"},
}
GPT = {
    "name": "gpt",
    "protocol": "openai-chat",
    "base_url": "https://api.openai.com/v1",
    "model": "gpt-5.2",
    "channel": "api:openai",
}
ENTRY = """\
- id: corp-api
  version: "1"
  kind: channel
  title: Our [gateway]
  models: ["*"]
  channels: ["api:corp"]
  url: null
  effective: null
  seen: 2026-11-01
  train_use: deny
  reason: The agreement says so.
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*args: str) -> Result:
    return CliRunner().invoke(app, args)


def call_json(*args: str, exit_code: int = 0) -> Any:
    result = call(*args, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def written(here: Path, **changes: Any) -> str:
    (here / "harvest.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))
    return "harvest.yaml"


def test_list_has_every_entry_with_its_digest() -> None:
    entries = {entry["id"]: entry for entry in call_json("list")["entries"]}
    assert entries.keys() == {entry.id for entry in Register.load().entries}
    assert entries["openai-api"]["train_use"] == "deny_competing"
    assert entries["openai-api"]["from"] == "shipped"
    assert len(entries["openai-api"]["sha256"]) == 64


def test_list_keeps_ids_whole_at_any_width() -> None:
    out = call("list").stdout
    assert all(entry.id in out for entry in Register.load().entries)


def test_show_prints_the_entry_and_its_digest() -> None:
    found = call_json("show", "LLAMA-3.1")
    entry = Register.load().get("llama-3.1")
    assert entry is not None
    assert found["sha256"] == entry.sha256
    assert found["obligation_details"]["display_text"] == "Built with Llama"
    assert "Built with Llama" in call("show", "llama-3.1").stdout


def test_show_of_an_unknown_id_names_its_neighbours() -> None:
    result = call("show", "llama-3.2")
    assert isinstance(result.exception, ConfigError)
    assert "llama-3.1" in str(result.exception)


def test_check_permits_the_config_of_a_local_teacher(here: Path) -> None:
    found = call_json("check", written(here))
    assert found["permitted"] is True
    (decision,) = found["teachers"]
    assert (decision["teacher"], decision["train_use"]) == ("smollm2", "allow")


def test_check_refuses_with_exit_code_3_if_one_teacher_of_several_is_refused(here: Path) -> None:
    config = written(here, teachers=[*CONFIG["teachers"], GPT])
    found = call_json("check", config, exit_code=3)
    assert [decision["permitted"] for decision in found["teachers"]] == [True, False]
    shown = call("check", config)
    assert shown.exit_code == 3
    assert "smollm2: permitted (allow)" in shown.stdout
    assert "gpt: refused (deny_competing)" in shown.stdout
    assert "openai-api forbids competing models" in shown.stdout


@pytest.mark.parametrize(
    ("changes", "permitted"),
    [
        ({"policy": {"distributed": True, "competes_with_teacher": False}}, True),
        ({"overrides": [{"approver": "Ann", "reason": "r", "scope": "gpt", "expires": "9999-12-31"}]}, True),
        ({"overrides": [{"approver": "Ann", "reason": "r", "scope": "gpt", "expires": "2020-12-31"}]}, False),
        ({"prompts": [{"uri": "p.jsonl"}], "policy": {"distributed": False, "competes_with_teacher": False}}, False),
    ],
)
def test_check_reads_policy_overrides_and_licences_from_the_config(
    here: Path, changes: dict[str, Any], permitted: bool
) -> None:
    config = written(here, teachers=[GPT], **changes)
    assert call_json("check", config, exit_code=0 if permitted else 3)["permitted"] is permitted


def test_check_reads_base_models_and_the_users_register_from_the_config(here: Path) -> None:
    (here / "new.yaml").write_text(ENTRY.replace("kind: channel", "kind: model").replace("api:corp", "weights:*"))
    assert call("add", "new.yaml", "--register", "ours").exit_code == 0
    mine = {**CONFIG["teachers"][0], "model": "mine", "terms": ["own-model"], "base_models": ["corp-api"]}
    (without,) = call_json("check", written(here, teachers=[mine]), exit_code=3)["teachers"]
    (with_it,) = call_json("check", written(here, teachers=[mine], terms_register="ours"), exit_code=3)["teachers"]
    assert (without["train_use"], with_it["train_use"]) == ("unknown", "deny")


def test_check_without_a_config_answers_for_one_model_and_channel() -> None:
    args = ["check", "--model", "SmolLM2-135M-Instruct", "--channel", "weights:local"]
    assert call_json(*args)["permitted"] is True
    assert call_json(*args, "--prompt-license", "secret", exit_code=3)["permitted"] is False
    assert isinstance(call(*args, "--base-url", "https://api.openai.com/v1").exception, ConfigError)
    named = call_json("check", "--model", "mine", "--channel", "weights:local", "--terms", "own-model")
    assert named["teachers"][0]["declaration"] is True
    assert "rests on your own declaration" in call(*args[:2], "mine", *args[3:], "--terms", "own-model").stdout


@pytest.mark.parametrize("args", [[], ["--model", "m"], ["--channel", "c"], ["harvest.yaml", "--model", "m"]])
def test_check_wants_a_config_or_a_model_and_channel(args: list[str]) -> None:
    result = call("check", *args)
    assert isinstance(result.exception, ConfigError)
    assert "either a CONFIG or both --model and --channel" in str(result.exception)


def test_an_added_entry_is_in_the_register_of_this_folder(here: Path) -> None:
    (here / "new.yaml").write_text(ENTRY)
    added = call_json("add", "new.yaml", "--text", "new.yaml")["added"]
    assert added[0]["file"] == "tutelage-terms/corp-api-1.yaml"
    assert call_json("show", "corp-api")["sha256"] == added[0]["sha256"]
    assert "Our [gateway]" in call("show", "corp-api").stdout
    assert (
        call_json("check", "--model", "m", "--channel", "api:corp", exit_code=3)["teachers"][0]["train_use"] == "deny"
    )


def test_add_says_what_it_replaces_and_only_when_asked(here: Path) -> None:
    (here / "new.yaml").write_text(ENTRY.replace("corp-api", "xai-api").replace("null\n  seen", "2026-11-01\n  seen"))
    assert "would hide it" in str(call("add", "new.yaml").exception)
    assert "in place of version 2026-05-12 (deny)" in call("add", "new.yaml", "--supersede").stdout


def test_diff_tells_field_by_field_what_changed(here: Path) -> None:
    found = call_json("diff", "llama-3.0", "llama-3.1")["differences"]
    changed = {difference["field"]: (difference["left"], difference["right"]) for difference in found}
    assert changed["train_use"] == ("deny", "allow_with")
    assert "allow_with" in call("diff", "llama-3.0", "llama-3.1").stdout


def test_diff_of_a_dataset_is_against_the_register_of_today(here: Path) -> None:
    entry = Register.load().get("own-model")
    assert entry is not None
    older = entry.model_copy(update={"version": "0"})
    (here / "dataset" / "terms").mkdir(parents=True)
    (here / "dataset" / "terms" / f"{older.sha256}.txt").write_bytes(older.canonical_text())
    assert call_json("diff", "dataset")["differences"] == [
        {"terms_id": "own-model", "field": "version", "left": "0", "right": "1"}
    ]
    assert call("diff", "own-model", "own-model").stdout == "no difference\n"
