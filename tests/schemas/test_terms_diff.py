from datetime import date
from pathlib import Path

import pytest

from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.terms_diff import Difference, current_side, differences, read_side
from tutelage.schemas.terms_entry import TermsEntry
from tutelage.schemas.terms_register import Origin, Register

SHIPPED = Register.load()


def shipped(terms_id: str) -> TermsEntry:
    entry = SHIPPED.get(terms_id)
    assert entry is not None
    return entry


def sealed(dataset: Path, *entries: TermsEntry) -> Path:
    (dataset / "terms").mkdir(parents=True)
    for entry in entries:
        (dataset / "terms" / f"{entry.sha256}.txt").write_bytes(entry.canonical_text())
    return dataset


def test_what_was_sealed_is_compared_with_the_register_of_today(tmp_path: Path) -> None:
    older = shipped("openai-api").model_copy(update={"version": "2024-01-01", "train_use": "allow"})
    left = read_side(str(sealed(tmp_path, older, shipped("CC0-1.0"))), SHIPPED)
    assert differences(left, current_side(left, SHIPPED)) == [
        Difference("openai-api", "version", "2024-01-01", "2026-01-01"),
        Difference("openai-api", "train_use", "allow", "deny_competing"),
    ]


def test_an_entry_that_the_register_no_longer_has_is_told(tmp_path: Path) -> None:
    gone = shipped("openai-api").model_copy(update={"id": "gone"})
    left = read_side(str(sealed(tmp_path, gone)), SHIPPED)
    assert differences(left, current_side(left, SHIPPED)) == [Difference("gone", "entry", "2026-01-01", None)]


def test_a_sealed_text_under_the_wrong_name_breaks_the_seal(tmp_path: Path) -> None:
    dataset = sealed(tmp_path, shipped("openai-api"))
    (path,) = (dataset / "terms").iterdir()
    path.write_bytes(path.read_bytes().replace(b"deny_competing", b"allow"))
    with pytest.raises(SealBroken, match="its name says another"):
        read_side(str(dataset), SHIPPED)


def test_a_folder_without_sealed_terms_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no terms/"):
        read_side(str(tmp_path), SHIPPED)


def test_a_text_sealed_by_another_version_is_compared_by_the_fields_it_has(tmp_path: Path) -> None:
    left = {"openai-api": {**shipped("openai-api").model_dump(mode="json"), "retired_field": 1}}
    del left["openai-api"]["competes_exceptions"]
    fields = {difference.field for difference in differences(left, current_side(left, SHIPPED))}
    assert fields == {"retired_field", "competes_exceptions"}


def test_two_ids_are_compared_though_their_names_differ() -> None:
    found = differences(read_side("llama-3.0", SHIPPED), read_side("llama-3.1", SHIPPED))
    assert ("llama-3.0 → llama-3.1", "train_use", "deny", "allow_with") in found


def test_an_id_is_compared_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(
        "{id: own-model, version: '2', kind: declaration, title: Weights that the user owns, models: ['*'], "
        "channels: ['weights:*'], url: null, effective: null, seen: 2026-11-23, train_use: allow, reason: Mine.}"
    )
    found = differences(read_side("own-model", SHIPPED), read_side(str(path), SHIPPED))
    assert [difference.field for difference in found] == ["version", "reason"]


def test_a_version_can_be_named() -> None:
    newer = shipped("own-model").model_copy(update={"version": "2", "effective": date(2026, 12, 1)})
    register = Register.of((entry, Origin("r.yaml")) for entry in (shipped("own-model"), newer))
    found = differences(read_side("own-model@1", register), read_side("own-model", register))
    assert [difference.field for difference in found] == ["version", "effective"]


@pytest.mark.parametrize("what", ["own-modle", "own-model@9"])
def test_what_is_neither_id_file_nor_folder_is_named(what: str) -> None:
    with pytest.raises(ConfigError, match=f"'{what}' is no terms id, file or dataset folder; nearest known: own-model"):
        read_side(what, SHIPPED)


def test_equal_sides_have_no_differences() -> None:
    side = read_side("llama-3.0", SHIPPED)
    assert differences(side, current_side(side, SHIPPED)) == []
