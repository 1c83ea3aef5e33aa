from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tutelage.pipelines.config import HarvestConfig, parse_config
from tutelage.pipelines.gate import Gate, open_gate
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError, PolicyRefused

TODAY = date(2026, 11, 24)
SMOL = {
    "name": "smol",
    "protocol": "openai-chat",
    "base_url": "http://127.0.0.1:8080/v1",
    "model": "SmolLM2-135M-Instruct",
    "channel": "weights:local",
    "terms": "smollm2-apache-2.0",
}
GPT = {
    "name": "gpt",
    "protocol": "openai-chat",
    "base_url": "https://api.openai.com/v1",
    "model": "gpt-5.2",
    "channel": "api:openai",
}
SIGNED = {"approver": "J. Doe", "reason": "contract 7", "scope": "gpt", "expires": "2026-12-31"}
REGISTERED = """\
- id: house-licence
  version: "1"
  kind: declaration
  title: Our own prompts
  models: ["*"]
  channels: ["prompts"]
  url: null
  effective: null
  seen: 2026-11-01
  train_use: allow
  reason: We wrote them.
"""


def config_for(*teachers: dict[str, Any], **sections: Any) -> HarvestConfig:
    found = {"version": 1, "prompts": [{"uri": "p.jsonl"}], "teachers": list(teachers), "output": {"uri": "out"}}
    return parse_config(found | sections, "job.yaml")


def gate_for(*teachers: dict[str, Any], licenses: Sequence[str] = ("CC0-1.0",), **sections: Any) -> Gate:
    return open_gate(config_for(*teachers, **sections), licenses, TODAY)


def test_a_permitted_teacher_passes_and_its_rows_are_stamped_with_every_entry_that_applied() -> None:
    gate = gate_for(SMOL)
    gate.require()
    stamp = gate.stamps["smol"]["CC0-1.0"]
    assert set(stamp.terms_id.split(";")) == {"smollm2-apache-2.0", "CC0-1.0"}
    assert stamp.train_use in ("allow", "allow_with")


def test_a_refused_teacher_stops_the_harvest_with_its_reasons_and_what_can_be_done() -> None:
    gate = gate_for(SMOL, GPT)
    with pytest.raises(PolicyRefused) as caught:
        gate.require()
    said = str(caught.value)
    assert caught.value.exit_code == 3
    assert said.startswith("teacher gpt: deny_competing: ")
    assert "openai-api forbids competing models" in said
    assert "no call was made" in said
    assert "overrides: approver, reason, scope, expires" in said
    assert "teacher smol" not in said, "only what refuses is told"


def test_every_refused_teacher_is_named_at_once() -> None:
    gate = gate_for(GPT, GPT | {"name": "other", "model": "gpt-4"})
    with pytest.raises(PolicyRefused) as caught:
        gate.require()
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[:2]] == ["teacher gpt", "teacher other"]


@pytest.mark.parametrize("unlisted", [{"channel": "api:nobody"}, {"channel": "weights:local", "model": "mystery"}])
def test_what_the_register_does_not_know_is_refused(unlisted: dict[str, str]) -> None:
    assert gate_for(SMOL | {"terms": []} | unlisted, licenses=["CC0-1.0"]).refused


def test_a_prompt_licence_that_is_not_given_is_refused() -> None:
    (refused,) = gate_for(SMOL, licenses=["unknown"]).refused
    assert any("'unknown' is no prompt licence" in reason for reason in refused.reasons)
    assert gate_for(SMOL, licenses=[]).refused, "a plan of no sources says nothing of its licence either"


def test_rows_carry_the_terms_of_their_own_prompts_and_the_decision_those_of_all() -> None:
    gate = gate_for(SMOL, licenses=["CC0-1.0", "CC-BY-4.0"])
    free, attributed = gate.stamps["smol"]["CC0-1.0"], gate.stamps["smol"]["CC-BY-4.0"]
    assert "CC-BY-4.0" not in free.terms_id
    assert set(attributed.obligations) > set(free.obligations)
    assert set(attributed.obligations) <= set(gate.decisions[0].obligations)


def test_one_forbidden_licence_among_the_prompts_refuses_the_teacher() -> None:
    assert gate_for(SMOL, licenses=["CC0-1.0", "CC-BY-NC-4.0"]).refused
    assert gate_for(SMOL, licenses=["CC-BY-4.0", "CC-BY-NC-4.0"]).refused


def test_a_signed_override_permits_and_is_sealed_with_its_signature() -> None:
    gate = gate_for(GPT, overrides=[SIGNED])
    gate.require()
    (sealed,) = gate.sealed()
    assert sealed.override == SIGNED
    assert sealed.train_use == "deny_competing", "what the terms say does not change by a signature"


@pytest.mark.parametrize("change", [{"expires": "2026-11-23"}, {"scope": "smol"}])
def test_an_override_that_expired_or_is_for_another_teacher_does_not_help(change: dict[str, str]) -> None:
    assert gate_for(GPT, overrides=[SIGNED | change]).refused


def test_an_own_model_is_allowed_and_sealed_as_the_users_declaration() -> None:
    gate = gate_for(SMOL | {"model": "house-7b", "terms": "own-model"})
    gate.require()
    assert gate.sealed()[0].declared_by_user
    assert not gate_for(SMOL).sealed()[0].declared_by_user


def test_what_a_teachers_base_model_forbids_its_own_licence_does_not_lift() -> None:
    (refused,) = gate_for(SMOL | {"terms": "own-model", "model": "house-7b", "base_models": "llama-2"}).refused
    assert any("llama-2" in reason for reason in refused.reasons)


def test_terms_of_one_revision_are_not_those_of_another(tmp_path: Path) -> None:
    entry = REGISTERED.replace('["prompts"]', '["weights:*"]').replace('["*"]', "[house-7b]") + '  revisions: ["b1"]\n'
    (tmp_path / "house.yaml").write_text(entry)
    teacher = SMOL | {"terms": [], "model": "house-7b"}
    assert not gate_for(teacher | {"revision": "b1"}, terms_register=str(tmp_path)).refused
    assert gate_for(teacher | {"revision": "b2"}, terms_register=str(tmp_path)).refused


def test_the_text_behind_every_digest_is_there_to_be_sealed() -> None:
    gate = gate_for(SMOL, GPT, licenses=["CC0-1.0", "MIT"])
    named = {digest for sealed in gate.sealed() for digest in sealed.entries.values()}
    assert named == gate.texts.keys()
    assert all(sha256_hex(text) == digest for digest, text in gate.texts.items())


def test_a_register_of_the_users_own_counts_where_the_config_names_it(tmp_path: Path) -> None:
    (tmp_path / "house.yaml").write_text(REGISTERED)
    assert not gate_for(SMOL, licenses=["house-licence"], terms_register=str(tmp_path)).refused
    assert gate_for(SMOL, licenses=["house-licence"]).refused


def test_a_config_that_contradicts_the_register_is_an_error_and_no_refusal() -> None:
    with pytest.raises(ConfigError, match=r"base_url is on api\.openai\.com, the host of openai-api"):
        gate_for(GPT | {"channel": "weights:local"})
