"""Bases to load and to spoil."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from base_folders import tiny_model, write_folder, write_gguf
from tiny_tokenizer import tiny_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("whole") / "tiny")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tiny_tokenizer()
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_model(tokenizer), tokenizer)
