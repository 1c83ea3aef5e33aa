import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tutelage.pipelines.config import HarvestConfig, parse_config
from tutelage.pipelines.job import TermsStamp
from tutelage.pipelines.run_record import new_run, read_runs, require_same_identity, terms_by_run, write_runs
from tutelage.pipelines.storage import Folder
from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.schemas.version import CODE_VERSION

TEACHER = {
    "name": "smol",
    "protocol": "openai-chat",
    "base_url": "http://127.0.0.1:8080/v1",
    "model": "SmolLM2",
    "channel": "weights:local",
    "api_key_env": "SMOL_KEY",
}
STAMPS = {"smol": {"CC0-1.0": TermsStamp("smollm2-apache-2.0;CC0-1.0", "allow_with", ("keep_notice",))}}


def config_for(**sections: Any) -> HarvestConfig:
    found = {"version": 1, "prompts": [{"uri": "p.jsonl"}], "teachers": [TEACHER], "output": {"uri": "out"}}
    return parse_config(found | sections, "job.yaml")


def run(run_id: str = "r1", **sections: Any) -> dict[str, Any]:
    return new_run(config_for(**sections), run_id, "2026-11-24T12:00:00+00:00", STAMPS)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


def refused_difference(folder: Folder, **sections: Any) -> list[str]:
    """What is told of a folder that the plain config made, to a config with these sections."""
    write_runs(folder, [run()])
    with pytest.raises(ConfigError) as caught:
        require_same_identity(config_for(**sections), read_runs(folder), "out")
    first, *differences, advice = str(caught.value).splitlines()
    assert first == "out: was harvested with another config (there -> here):"
    assert advice.startswith("name another output.uri")
    assert caught.value.exit_code == 2
    return differences


def test_a_folder_without_a_record_has_no_runs(folder: Folder) -> None:
    assert read_runs(folder) == []
    require_same_identity(config_for(), [], "out")


def test_runs_come_back_as_they_were_written_oldest_first(folder: Folder) -> None:
    runs = [run("r1"), run("r2")]
    write_runs(folder, runs)
    assert [each["run_id"] for each in read_runs(folder)] == ["r1", "r2"]
    assert terms_by_run(read_runs(folder)) == {"r1": STAMPS, "r2": STAMPS}


def test_a_record_names_code_parts_and_config_and_the_variable_of_a_key_but_no_key(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMOL_KEY", "sk-s3cr3t")
    write_runs(folder, [run()])
    (record,) = read_runs(folder)
    assert record["code_version"] == CODE_VERSION
    assert record["parts"]["pyarrow"] == version("pyarrow")
    assert record["config"]["teachers"][0]["api_key_env"] == "SMOL_KEY"
    assert b"s3cr3t" not in folder.read("run.json")


def test_the_recorded_config_can_be_run_again(folder: Folder) -> None:
    config = config_for(
        budget={"max_usd": "5.00"},
        sampling={"extra": {"logit_bias": {"1": -100}}, "stop": ["END"]},
        overrides=[{"approver": "a", "reason": "r", "scope": "s", "expires": "2030-01-01"}],
    )
    write_runs(folder, [new_run(config, "r1", "2026-11-24T12:00:00+00:00", STAMPS)])
    assert parse_config(read_runs(folder)[0]["config"], "run.json") == config


def test_the_same_config_and_what_may_change_go_on_in_the_same_folder(folder: Folder) -> None:
    write_runs(folder, [run()])
    changed = config_for(
        prompts=[{"uri": "more.jsonl"}],
        budget={"max_usd": 1},
        retry={"max_attempts": 2},
        teachers=[TEACHER | {"base_url": "http://other/v1", "limits": {"max_in_flight": 2}}],
    )
    require_same_identity(changed, read_runs(folder), "out")


@pytest.mark.parametrize(
    ("sections", "difference"),
    [
        ({"teachers": [TEACHER | {"model": "SmolLM3"}]}, '  teachers.smol.model: "SmolLM2" -> "SmolLM3"'),
        ({"teachers": [TEACHER | {"revision": "b2"}]}, '  teachers.smol.revision: absent -> "b2"'),
        ({"teachers": [TEACHER | {"terms": "own-model"}]}, '  teachers.smol.terms: [] -> ["own-model"]'),
        ({"sampling": {"temperature": 0.5}}, "  sampling.temperature: absent -> 0.5"),
        ({"sampling": {"extra": {"min_p": 0.1}}}, '  sampling.extra: absent -> {"min_p":0.1}'),
        ({"output": {"uri": "out", "shards": 3}}, "  shards: 8 -> 3"),
    ],
)
def test_a_folder_that_another_config_made_is_refused_with_the_difference(
    folder: Folder, sections: dict[str, Any], difference: str
) -> None:
    assert refused_difference(folder, **sections) == [difference]


def test_a_teacher_more_or_fewer_is_a_difference(folder: Folder) -> None:
    other = TEACHER | {"name": "other", "model": "x"}
    (difference,) = refused_difference(folder, teachers=[TEACHER, other])
    assert difference.startswith('  teachers.other: absent -> {"protocol":"openai-chat"')
    (gone, come) = refused_difference(folder, teachers=[other])
    assert gone.startswith("  teachers.other: absent -> ")
    assert come.startswith("  teachers.smol: {")
    assert come.endswith(" -> absent")


def test_of_many_differences_the_first_are_told(folder: Folder) -> None:
    many = {f"key{number}": number for number in range(20)}
    write_runs(folder, [run(sampling={"extra": {"a": 1}})])
    with pytest.raises(ConfigError) as caught:
        require_same_identity(config_for(sampling={"extra": many}), read_runs(folder), "out")
    assert len(str(caught.value).splitlines()) == 10


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no run/1 (JSONDecodeError"),
        (b"[]", "is no run/1 (TypeError"),
        (b"{}", "is no run/1 (KeyError: 'contract')"),
        (b'{"contract": "run/1"}', "is no run/1 (KeyError: 'runs')"),
        (b'{"contract": "run/1", "runs": [3]}', "is no run/1 (TypeError"),
        (b'{"contract": "run/2"}', "run/2 is newer than this tutelage reads (run/1); upgrade it"),
    ],
)
def test_a_damaged_or_newer_record_is_refused_by_name(folder: Folder, content: bytes, said: str) -> None:
    folder.write("run.json", content)
    with pytest.raises(ContractError) as caught:
        read_runs(folder)
    assert "run.json: " in str(caught.value)
    assert said in str(caught.value)


def test_the_record_is_json_that_people_can_read_and_diff(folder: Folder) -> None:
    write_runs(folder, [run()])
    text = folder.read("run.json").decode()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
