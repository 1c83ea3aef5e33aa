"""The terms gate of a curation: what was harvested under the terms of its day is asked again of today's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from curate_scene import GPT, SIGNED, TODAY, CurateScene

from tutelage.pipelines.curate_gate import CurateGate, open_curate_gate, stamps_of
from tutelage.pipelines.parents import open_parents
from tutelage.pipelines.run_record import write_runs
from tutelage.pipelines.seal import seal
from tutelage.pipelines.storage import Folder
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import table_of
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.errors import ConfigError, PolicyRefused
from tutelage.schemas.rows import Completion
from tutelage.schemas.terms_policy import TermsPolicy

MakeRow = Callable[..., Completion]
BY_ID = {**SIGNED, "scope": "openai-api"}
EXPIRED = {**SIGNED, "expires": "2026-11-24"}
OTHER = {**SIGNED, "scope": "smollm2"}
OWN_REGISTER = """\
- id: {id}
  version: "2"
  kind: {kind}
  title: Changed terms
  models: {models}
  channels: {channels}
  url: null
  effective: 2026-11-24
  seen: 2026-11-20
  train_use: {train_use}
  reason: They changed.
"""


@pytest.fixture
def scene(tmp_path: Path) -> CurateScene:
    return CurateScene(tmp_path)


def gate_of(scene: CurateScene, rows: list[Completion], teachers: Any = None, **terms: Any) -> CurateGate:
    uri = scene.parent("a", rows)
    policy = TermsPolicy.model_validate(terms)
    return open_curate_gate(open_parents([uri], scene.out.uri), teachers, policy, TODAY)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], bool, str]] = {
    "open weights, sealed as allowed": ({}, {}, True, "allow"),
    "a forbidding provider": (GPT, {}, False, "deny_competing"),
    "the same, for a student that does not compete": (GPT, {"competes_with_teacher": False}, True, "deny_competing"),
    "harvested under an override, none here": ({**GPT, "train_use": "deny"}, {}, False, "deny"),
    "an override for the teacher": (GPT, {"overrides": [SIGNED]}, True, "deny_competing"),
    "an override for the terms": (GPT, {"overrides": [BY_ID]}, True, "deny_competing"),
    "an override that has expired": (GPT, {"overrides": [EXPIRED]}, False, "deny_competing"),
    "an override for somebody else": (GPT, {"overrides": [OTHER]}, False, "deny_competing"),
    "sealed stricter than the terms are today": ({"train_use": "deny"}, {}, False, "deny"),
    "that, under an override for the teacher": ({"train_use": "deny"}, {"overrides": [OTHER]}, True, "deny"),
    "that, under an override for today's terms": (
        {"train_use": "deny"},
        {"overrides": [{**SIGNED, "scope": "smollm2-apache-2.0"}]},
        False,
        "deny",
    ),
    "sealed as unknown": ({"train_use": "unknown"}, {}, False, "unknown"),
    "sealed with a word of the future": ({"train_use": "allow_on_mondays"}, {}, False, "unknown"),
    "sealed with an obligation of the future": (
        {"train_use": "allow_with", "obligations": ["sing"]},
        {},
        False,
        "unknown",
    ),
    "a sealed obligation that the policy breaks": (
        {"train_use": "allow_with", "obligations": ["internal_only"]},
        {},
        False,
        "allow_with",
    ),
    "the same, kept inside": (
        {"train_use": "allow_with", "obligations": ["internal_only"]},
        {"distributed": False},
        True,
        "allow_with",
    ),
    "a prompt licence that nobody knows": ({"prompt_license": "unknown"}, {}, False, "unknown"),
    "terms that left the register": ({"terms_id": "CC0-1.0;gone-1.0"}, {}, False, "unknown"),
    "a model without an entry": ({"model_requested": "mystery-7b", "terms_id": "CC0-1.0"}, {}, False, "unknown"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_strictest_of_todays_terms_and_the_seal_decides(scene: CurateScene, completion: MakeRow, name: str) -> None:
    columns, terms, permitted, use = CASES[name]
    [ruling] = gate_of(scene, [completion(**columns)], **terms).rulings.values()
    assert (ruling.decision.permitted, ruling.decision.train_use) == (permitted, use), ruling.decision.reasons
    assert bool(ruling.refusal) != permitted


def test_sealed_obligations_add_to_todays(scene: CurateScene, completion: MakeRow) -> None:
    row = completion(train_use="allow_with", obligations=["attribution"])
    [ruling] = gate_of(scene, [row]).rulings.values()
    assert ruling.decision.obligations == ("attribution",)


@pytest.mark.parametrize(("train_use", "permitted"), [("allow", True), ("deny", False)])
def test_terms_that_changed_since_the_harvest_count_as_they_are_today(
    scene: CurateScene, completion: MakeRow, tmp_path: Path, train_use: str, permitted: bool
) -> None:
    entry = OWN_REGISTER.format(
        id="smollm2-apache-2.0",
        kind="model",
        models='["*smollm2*"]',
        channels='["weights:*"]',
        train_use=train_use,
    )
    (tmp_path / "register").mkdir()
    (tmp_path / "register" / "mine.yaml").write_text(entry)
    gate = gate_of(scene, [completion()], terms_register=str(tmp_path / "register"))
    [ruling] = gate.rulings.values()
    assert ruling.decision.permitted is permitted


def test_a_run_record_says_what_the_row_does_not(scene: CurateScene, completion: MakeRow) -> None:
    """The host: a public one that no entry lists is unknown, whatever the rows say."""
    uri = scene.parent("a", [completion()])
    teacher = {"name": "smollm2", "base_url": "https://models.example.org/v1", "terms": ["smollm2-apache-2.0"]}
    run = {"run_id": "20261123T120000Z-abcdef", "started_at": "2026-11-23", "code_version": "x"}
    write_runs(Folder(uri), [{**run, "config": {"teachers": [{**teacher, "base_models": []}]}}])
    seal(Folder(uri), "harvest", [run["run_id"]], [], {})
    [ruling] = open_curate_gate(open_parents([uri], "out"), None, TermsPolicy(), TODAY).rulings.values()
    assert not ruling.decision.permitted
    assert "models.example.org" in ruling.refusal


def test_a_named_teacher_that_is_refused_stops_the_curation(scene: CurateScene, completion: MakeRow) -> None:
    gate = gate_of(scene, [completion(), completion(**GPT), completion(**GPT)], ["gpt", "smollm2"])
    with pytest.raises(PolicyRefused) as caught:
        gate.require(["gpt", "smollm2"])
    said = str(caught.value)
    assert said.startswith("teacher gpt: deny_competing: refused: openai-api forbids competing models")
    assert "(2 rows)" in said
    assert "nothing was written" in said
    assert "policy.terms.overrides: approver, reason, scope, expires" in said
    assert "smollm2:" not in said, "only what refuses is told"


def test_where_nobody_is_named_a_refused_teacher_is_left_out_unless_nobody_is_left(
    scene: CurateScene, completion: MakeRow
) -> None:
    gate_of(scene, [completion(), completion(**GPT)]).require(None)
    with pytest.raises(PolicyRefused, match="teacher gpt"):
        gate_of(CurateScene(scene.folder / "more"), [completion(**GPT)]).require(None)


def test_a_named_teacher_with_rows_that_may_be_used_goes_on_with_those(scene: CurateScene, completion: MakeRow) -> None:
    gate_of(scene, [completion(), completion(prompt_license="unknown")], ["smollm2"]).require(["smollm2"])


def test_a_teacher_that_the_policy_leaves_out_is_not_asked_about(scene: CurateScene, completion: MakeRow) -> None:
    contradiction = {**GPT, "teacher": "odd", "channel": "weights:local", "terms_id": "CC0-1.0"}
    gate = gate_of(scene, [completion(), completion(**contradiction)], ["smollm2"])
    assert {stamp.teacher for _, stamp in gate.rulings} == {"smollm2"}
    assert gate.teachers == ("odd", "smollm2")


def test_what_contradicts_the_register_names_the_dataset(scene: CurateScene, completion: MakeRow) -> None:
    with pytest.raises(ConfigError, match="is this teacher's name and a terms id") as caught:
        gate_of(scene, [completion(teacher="own-model")], overrides=[{**SIGNED, "scope": "own-model"}])
    assert str(caught.value).startswith(f"{scene.folder / 'a'}: ")


def test_an_override_is_sealed_with_what_it_lifts(scene: CurateScene, completion: MakeRow) -> None:
    rows = [completion(**GPT), completion()]
    gate = gate_of(scene, rows, overrides=[SIGNED])
    parents = open_parents([str(scene.folder / "a")], scene.out.uri)
    sealed = gate.sealed(dict.fromkeys(gate.rulings, 1), parents)
    by_teacher = {item.teacher: item for item in sealed.terms}
    assert by_teacher["smollm2"].override is None
    assert by_teacher["gpt"].override == SIGNED
    assert "overridden: openai-api forbids competing models" in " ".join(by_teacher["gpt"].reasons)
    assert {item.teacher: item.rows for item in sealed.teachers} == {"gpt": 1, "smollm2": 1}
    digests = {digest for item in sealed.terms for digest in item.entries.values()}
    assert {digest: sha256_hex(sealed.texts[digest]) for digest in digests} == {digest: digest for digest in digests}


def test_terms_of_teachers_without_a_row_in_the_set_are_not_sealed(scene: CurateScene, completion: MakeRow) -> None:
    gate = gate_of(scene, [completion(), completion(**GPT)])
    counts = {key: int(key[1].teacher == "smollm2") for key in gate.rulings}
    sealed = gate.sealed(counts, open_parents([str(scene.folder / "a")], scene.out.uri))
    assert [item.teacher for item in sealed.terms] == ["smollm2"]


def test_stamps_tell_rows_apart_by_each_of_their_columns(completion: MakeRow) -> None:
    changed = {
        "run_id": "r",
        "teacher": "t",
        "model_requested": "m",
        "revision": None,
        "channel": "c",
        "prompt_license": "l",
        "terms_id": "i",
        "train_use": "deny",
        "obligations": ["attribution", "notice_text"],
    }
    rows = [completion(), completion(), *(completion(**{name: value}) for name, value in changed.items())]
    [batch] = table_of(COMPLETIONS, rows).to_batches()
    stamps, codes = stamps_of(batch)
    assert codes.tolist() == [0, 0, *range(1, len(changed) + 1)]
    assert [getattr(stamps[code], name) for code, name in zip(range(1, len(stamps)), changed, strict=True)] == [
        tuple(value) if isinstance(value, list) else value for value in changed.values()
    ]
