"""The student's folder while it is being made: who holds it, and where its parts lie."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.schemas.errors import ConfigError, DatasetHeld
from tutelage.schemas.manifest import MANIFEST
from tutelage.schemas.permit import Permit
from tutelage.schemas.storage_errors import storage_errors
from tutelage.train.config import TrainConfig
from tutelage.train.whole_file import replacing

RUN, CARD, TRAINING_ROWS = "run.json", "README.md", "training_rows.parquet"
EVALUATION, ANSWERS, REPORT = "evaluation.json", "evaluation_answers.json", "report.html"
CHECKPOINTS, TOKENS, ROW_LOG, NON_FINITE = "checkpoints", "tokens", "checkpoints/rows.log", "nonfinite.json"


def require_own_folder(folder: Path, config: TrainConfig, permit: Permit) -> None:
    """Raises ConfigError where the student would be written over, into, or around what it is made of."""
    with storage_errors(str(folder)):
        folder.exists()  # raises where the file system can't have such a name
    base = config.student.base
    sources = {"dataset": permit.dataset, "student.base.folder": base.folder}
    sources |= {f"parent {entry.uri}": entry.uri for entry in permit.manifest.parents}
    if base.fresh is not None:
        sources["student.base.fresh.tokenizer"] = base.fresh.tokenizer
    own = folder.resolve()
    for name, source in sources.items():
        place = Path(source.removeprefix("file://")).resolve() if source else None
        if place is not None and place.exists() and (place.is_relative_to(own) or own.is_relative_to(place)):
            raise ConfigError(f"output.folder is {folder}, and {name} lies there too; name a folder of its own")
    if (folder / MANIFEST).exists():
        raise ConfigError(f"output.folder is {folder}, which holds a sealed dataset; name a folder of its own")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps a second run out while the body runs; raises DatasetHeld where one is in. The lock dies with its holder."""
    with contextlib.ExitStack() as holding:
        with storage_errors(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            stream = holding.enter_context((folder / ".lock").open("a+"))
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                raise DatasetHeld(
                    f"{folder}: process {stream.read().strip() or 'unknown'} works in it; wait for it, or stop it, or "
                    "name another folder"
                ) from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
        yield


def write_json(path: Path, content: Any) -> None:
    """Replaces the file at once, or leaves it as it was."""
    with replacing(path) as stream:
        stream.write(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True).encode() + b"\n")
