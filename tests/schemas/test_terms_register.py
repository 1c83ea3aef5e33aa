import re
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest

from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_entry import TRAIN_USES, Kind, Obligation, TermsEntry
from tutelage.schemas.terms_register import Origin, Register, parse_entries

ENTRY = """\
- id: corp-api
  version: "1"
  kind: channel
  title: Our gateway
  models: ["*"]
  channels: ["api:corp"]
  hosts: [llm.corp.example]
  url: https://corp.example/terms
  effective: 2026-02-01
  seen: 2026-11-01
  train_use: deny_competing
  reason: The agreement says so.
"""


def entry(**changes: Any) -> TermsEntry:
    (plain,) = parse_entries(ENTRY, "entry.yaml")
    return TermsEntry.model_validate({**plain.model_dump(), **changes})


def register(*entries: TermsEntry) -> Register:
    return Register.of((item, Origin("test.yaml")) for item in entries)


def folder(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / f"{name}.yaml").write_text(text)
    return path


def test_a_users_folder_is_read_after_the_shipped_entries(tmp_path: Path) -> None:
    loaded = Register.load([folder(tmp_path / "ours", corp=ENTRY)])
    found = loaded.get("corp-api")
    assert found is not None
    assert found.effective == date(2026, 2, 1)
    assert not loaded.is_shipped(found)
    assert len(loaded.entries) == len(Register.load().entries) + 1


def test_the_same_id_and_version_twice_names_both_files(tmp_path: Path) -> None:
    ours = folder(tmp_path / "ours", one=ENTRY, two=ENTRY.replace("corp-api", "Corp-API"))
    with pytest.raises(ConfigError, match=r"'Corp-API' version '1' stands in .*one\.yaml and again in .*two\.yaml"):
        Register.load([ours])


def test_a_missing_register_folder_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        Register.load([tmp_path / "tutelage-tems"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("train_use: deny_competing", "train_use: allowed"), "train_use"),
        (("train_use: deny_competing", "train_use: allow_with"), "`allow_with` needs at least one obligation"),
        (("train_use: deny_competing", "train_use: allow\n  obligations: [attribution]"), "`allow` has no obligations"),
        (("train_use: deny_competing", "train_use: intersect"), "`intersect` is what an entry of kind `host` says"),
        (("kind: channel", "kind: host"), "`intersect` is what an entry of kind `host` says"),
        (("kind: channel", "kind: model"), "only the kinds `channel` and `host` have it"),
        (('["api:corp"]', "[prompts]"), "the channel 'prompts' belongs to the kind `prompt_license`"),
        (('models: ["*"]', "models: []"), "an empty list covers nothing"),
        (('channels: ["api:corp"]', "channels: []"), "an empty list covers nothing"),
        (("reason:", "obligations: [be_nice]\n  reason:"), "obligations"),
        (("reason:", "obligation_details: {attribution: Corp}\n  reason:"), "which obligations does not list"),
        (("reason:", "licence: mit\n  reason:"), "licence: Extra inputs are not permitted"),
        (("  reason: The agreement says so.\n", ""), "reason: Field required"),
        (("The agreement says so.", '"two\\nlines"'), "reason"),
        (("url: https://corp.example/terms", "url: corp.example/terms"), "url"),
        (("2026-11-01", "yesterday"), "seen"),
        (('version: "1"', "version: 2.0"), "version"),
        (('version: "1"', 'version: "../../evil"'), "version"),
        (("reason:", "text_sha256: abc\n  reason:"), "text_sha256"),
    ],
)
def test_an_entry_that_says_nothing_clear_is_refused(change: tuple[str, str], problem: str) -> None:
    assert change[0] in ENTRY
    with pytest.raises(ConfigError) as caught:
        parse_entries(ENTRY.replace(*change), "entry.yaml")
    assert str(caught.value).startswith("entry.yaml: terms entry 'corp-api': ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "just words", "- just words", "3"])
def test_a_file_without_entries_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="needed a list of terms entries"):
        parse_entries(text, "entry.yaml")


def test_broken_yaml_is_named_with_its_file() -> None:
    with pytest.raises(ConfigError, match=r"entry\.yaml: not readable as YAML"):
        parse_entries("- id: [", "entry.yaml")


def test_a_key_given_twice_does_not_drop_the_first() -> None:
    """Plain YAML would take the last: `deny_competing` would be gone without a word."""
    with pytest.raises(ConfigError, match="'train_use' stands twice"):
        parse_entries(ENTRY + "  train_use: allow\n", "entry.yaml")


def test_one_entry_needs_no_list() -> None:
    alone = "\n".join(line[2:] for line in ENTRY.splitlines())
    assert parse_entries(alone, "entry.yaml") == parse_entries(ENTRY, "entry.yaml")


def test_the_newest_version_in_force_is_the_one_that_counts() -> None:
    old, new = entry(), entry(version="2", effective=date(2026, 6, 1))
    coming = entry(version="3", effective=date(2027, 1, 1))
    known = register(coming, old, new)
    assert known.get("corp-api") == coming
    assert known.in_force(date(2026, 11, 24)).entries == (new,)
    assert known.in_force(date(2026, 3, 1)).entries == (old,)
    assert known.in_force(date(2026, 1, 31)).entries == ()
    assert known.in_force(date(2027, 1, 1)).entries == (coming,)


def test_an_entry_without_an_effective_date_is_as_old_as_the_day_it_was_read() -> None:
    dated, undated = entry(effective=date(2026, 12, 1)), entry(version="2", effective=None)
    assert register(dated, undated).get("CORP-api") == dated


@pytest.mark.parametrize(
    ("model", "channel", "host", "found"),
    [
        ("any", "api:corp", None, True),
        ("any", "API:Corp", None, True),
        ("any", "api:corporate", None, False),
        ("any", "weights:local", "llm.corp.example", True),
        ("any", "weights:local", "llm.corp.example.org", False),
        ("any", "weights:local", None, False),
    ],
)
def test_a_channel_entry_is_found_by_its_channel_or_its_host(
    model: str, channel: str, host: str | None, found: bool
) -> None:
    assert bool(register(entry()).find(model, None, channel, host)) is found


@pytest.mark.parametrize(
    ("model", "revision", "found"),
    [
        ("Tiny-7B", "main", True),
        ("maker/tiny-7b-instruct", "main", True),
        ("maker/tiny_7b", "MAIN", True),
        ("tiny 7b", "main", True),
        ("tiny-7b/other", "main", True),
        ("very-tiny-7b", "main", False),
        ("tiny-7b", "v2", False),
        ("tiny-7b", None, False),
    ],
)
def test_a_model_entry_is_found_by_model_and_revision(model: str, revision: str | None, found: bool) -> None:
    weights = entry(kind="model", hosts=(), models=("tiny-7b*",), revisions=("main",), channels=("weights:*",))
    assert bool(register(weights).find(model, revision, "weights:local", None)) is found


def test_an_entry_for_any_model_holds_only_when_named() -> None:
    anything = entry(kind="model", hosts=(), channels=("weights:*",))
    assert register(anything).find("gpt-2", None, "weights:local", None) == ()


def test_the_canonical_text_is_what_the_digest_is_of() -> None:
    said = entry()
    assert said.sha256 == sha256_hex(said.canonical_text())
    assert said.canonical_text() == canonical_json(said.model_dump(mode="json"))
    assert TermsEntry.model_validate_json(said.canonical_text()) == said
    assert register(said).sealed_text(said.sha256) == said.canonical_text()


def test_every_field_is_under_the_digest() -> None:
    changed: dict[str, Any] = {
        "id": "other",
        "version": "2",
        "title": "Other",
        "models": ("x",),
        "revisions": ("x",),
        "channels": ("api:x",),
        "hosts": ("x.example",),
        "base_terms": ("x",),
        "url": None,
        "effective": None,
        "seen": date(2026, 1, 1),
        "text_sha256": "0" * 64,
        "train_use": "deny",
        "obligations": ("attribution",),
        "competes_exceptions": ("x",),
        "reason": "Other.",
    }
    assert set(TermsEntry.model_fields) - set(changed) == {"kind", "obligation_details"}
    assert len({entry(**{field: value}).sha256 for field, value in changed.items()} | {entry().sha256}) == 17
    weights = {"kind": "model", "hosts": (), "obligations": ("attribution",)}
    digests = {entry(**weights).sha256, entry(**{**weights, "kind": "declaration"}).sha256}
    digests.add(entry(**weights, obligation_details={"attribution": "x"}).sha256)
    assert len(digests) == 3


def test_an_unknown_id_is_answered_with_its_neighbours() -> None:
    known = Register.load()
    assert "smollm2-apache-2.0" in known.nearest("smollm-apache-2.0")
    assert "terms list" in known.nearest("qqqq")


def test_the_guide_explains_every_word_and_its_example_is_a_valid_entry() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "terms.md").read_text()
    for word in [*TRAIN_USES, "intersect", *get_args(Obligation), *get_args(Kind)]:
        assert re.search(rf"\b{word}\b", guide), word
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if block.startswith("- id:")]
    (found,) = parse_entries(example, "docs/terms.md")
    assert found.id == "corp-gateway"
