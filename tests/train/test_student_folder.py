"""Where a student can't be made: over what it is made of, or where something else is in the way."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_scene import RunScene

from tutelage.schemas.errors import ConfigError, StorageError
from tutelage.schemas.rows import Completion


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory, completion: Callable[..., Completion]) -> RunScene:
    return RunScene(tmp_path_factory.mktemp("folder")).with_rows([completion() for _ in range(8)])


@pytest.mark.parametrize("place", ["out", "out/student", "base", ""])
def test_a_student_is_not_written_over_what_it_is_made_of(place: str, scene: RunScene) -> None:
    before = scene.bytes()
    with pytest.raises(ConfigError, match="name a folder of its own"):
        scene.run(place)
    assert scene.bytes() == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: folder.write_text(""), "the file .*student-1 is in the way"),
        (
            lambda folder: (folder.mkdir(), (folder / "checkpoints").write_text("")),
            "the file .*checkpoints is in the way",
        ),
    ],
    ids=["a file in its place", "a file in its checkpoints' place"],
)
def test_a_place_where_no_student_can_be_made_is_said(
    spoil: Callable[[Path], object], said: str, scene: RunScene
) -> None:
    folder = scene.folder / "student-1"
    spoil(folder)
    with pytest.raises(StorageError, match=said):
        scene.run("student-1")
    shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


def test_a_folder_whose_name_is_too_long_is_said(scene: RunScene) -> None:
    with pytest.raises(StorageError, match=r"File name too long; .* Name another place"):
        scene.run("x" * 300)
