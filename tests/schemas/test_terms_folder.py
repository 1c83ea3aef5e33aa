import hashlib
from pathlib import Path

import pytest

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_folder import add_entries
from tutelage.schemas.terms_register import Register

ENTRY = """\
- id: corp-api
  version: "1"
  kind: channel
  title: Our gateway
  models: ["*"]
  channels: ["api:corp"]
  url: https://corp.example/terms
  effective: 2026-02-01
  seen: 2026-11-01
  train_use: deny
  reason: "The agreement says so: no training."
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new.yaml"
    path.write_text(ENTRY)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "register"


def test_an_added_entry_is_read_back_equal(file: Path, folder: Path) -> None:
    ((entry, path, replaces),) = add_entries(file, folder)
    assert path == folder / "corp-api-1.yaml"
    assert replaces is None
    assert Register.load([folder]).get("corp-api") == entry


def test_the_text_is_kept_under_its_digest(file: Path, folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "terms.txt"
    text.write_bytes("§ 1 – no training\r\n".encode())
    ((entry, _, _),) = add_entries(file, folder, text=text)
    assert entry.text_sha256 == hashlib.sha256(text.read_bytes()).hexdigest()
    assert (folder / "texts" / f"{entry.text_sha256}.txt").read_bytes() == text.read_bytes()
    assert Register.load([folder]).get("corp-api") == entry


def test_a_text_that_is_not_the_one_the_entry_names_is_refused(file: Path, folder: Path, tmp_path: Path) -> None:
    file.write_text(ENTRY + f"  text_sha256: '{'0' * 64}'\n")
    text = tmp_path / "terms.txt"
    text.write_text("other")
    with pytest.raises(ConfigError, match=f"says {'0' * 64}; give the text"):
        add_entries(file, folder, text=text)
    assert not folder.exists()


def test_one_text_does_not_stand_for_two_entries(file: Path, folder: Path) -> None:
    file.write_text(ENTRY + ENTRY.replace("corp-api", "corp-chat"))
    with pytest.raises(ConfigError, match="the file has 2 entries"):
        add_entries(file, folder, text=file)


@pytest.mark.parametrize("known", ["openai-api", "OpenAI-API", "own-model"])
def test_an_entry_that_would_hide_a_shipped_one_is_refused(file: Path, folder: Path, known: str) -> None:
    file.write_text(ENTRY.replace("corp-api", known).replace('"1"', '"9"'))
    with pytest.raises(ConfigError, match=r"is already in tutelage/.*would hide it.*--supersede"):
        add_entries(file, folder)
    assert not folder.exists()


def test_nothing_is_written_if_one_entry_of_the_file_is_refused(file: Path, folder: Path) -> None:
    file.write_text(ENTRY + ENTRY.replace("corp-api", "xai-api"))
    with pytest.raises(ConfigError, match="xai-api"):
        add_entries(file, folder)
    assert not folder.exists()


def test_a_newer_version_takes_the_place_when_that_is_asked_for(file: Path, folder: Path) -> None:
    file.write_text(ENTRY.replace("corp-api", "openai-api").replace("2026-02-01", "2026-06-01"))
    ((entry, _, replaces),) = add_entries(file, folder, supersede=True)
    register = Register.load([folder])
    assert replaces == Register.load().get("openai-api")
    assert register.get("openai-api") == entry
    assert register.replaced_by(entry) == replaces


def test_an_older_version_does_not_pretend_to_take_the_place(file: Path, folder: Path) -> None:
    file.write_text(ENTRY.replace("corp-api", "openai-api").replace("2026-02-01", "2025-06-01"))
    with pytest.raises(ConfigError, match=r"would not take the place of version 2026-01-01"):
        add_entries(file, folder, supersede=True)
    assert not folder.exists()


def test_the_same_version_twice_is_refused_even_when_superseding(file: Path, folder: Path) -> None:
    add_entries(file, folder)
    with pytest.raises(ConfigError, match="give the changed terms a version of their own"):
        add_entries(file, folder, supersede=True)


def test_an_entry_that_rests_on_nothing_known_is_refused(file: Path, folder: Path) -> None:
    file.write_text(ENTRY + "  base_terms: [nobody-knows]\n")
    with pytest.raises(ConfigError, match="rests on 'nobody-knows', which is not in the register"):
        add_entries(file, folder)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml can't be read"):
        add_entries(tmp_path / "nothing.yaml", folder)
