"""What every process of one harvest knows: the config, the run, the folder, and how to hear that it should stop."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.pipelines.config import HarvestConfig, PicoUsd, Prices, Teacher
from tutelage.pipelines.pricing import Cost
from tutelage.pipelines.storage import Folder
from tutelage.schemas import errors
from tutelage.schemas.errors import TutelageError


class TermsStamp(NamedTuple):
    """What a row says of the terms under which it was asked for."""

    terms_id: str
    train_use: str
    obligations: tuple[str, ...]


@dataclass(frozen=True)
class HarvestJob:
    """Pickled to every worker; holds no secret. `terms` (by run, teacher and prompt licence), `prices` (by run and
    teacher) and `code_versions` (by run) are those of the run that asked: a later run changes none of them in old rows.

    `control_dir` is a local folder through which the processes of one machine talk: `stop` asks them to drain,
    `progress-*.json` and `halt-*.json` say how they fare.
    """

    config: HarvestConfig
    run_id: str
    folder: Folder
    control_dir: str
    processes: int
    terms: dict[str, dict[str, dict[str, TermsStamp]]]
    max_pico_usd: PicoUsd | None
    max_tokens: int | None
    spent: Cost
    prices: Mapping[str, Mapping[str, Prices]] = field(default_factory=dict)
    code_versions: Mapping[str, str] = field(default_factory=dict)

    def teacher_numbers(self) -> dict[str, int]:
        return {teacher.name: number for number, teacher in enumerate(self.config.teachers)}

    def teacher(self, name: str) -> Teacher:
        return next(teacher for teacher in self.config.teachers if teacher.name == name)


class Halt(NamedTuple):
    """Why asking stopped before the plan was through. `teacher` is empty where it concerns all of them."""

    teacher: str
    cause: str
    message: str


class ControlFolder:
    """The local folder of a running harvest; see HarvestJob."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def open(self) -> None:
        """Called by the process that drives the run, so that its workers notice when it is gone."""
        (self.path / "driver").write_text(str(os.getpid()))

    @property
    def abandoned(self) -> bool:
        """The driver of this machine died (kill -9): nobody waits for the answers any more."""
        try:
            os.kill(int((self.path / "driver").read_text()), 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError):
            return False
        return False

    def ask_to_stop(self) -> None:
        (self.path / "stop").touch()

    @property
    def stop_asked(self) -> bool:
        return os.path.exists(f"{self.path}/stop")

    def publish(self, kind: str, writer: str, content: Any) -> None:
        unfinished = self.path / f"{kind}-{writer}.unfinished"
        try:
            unfinished.write_text(json.dumps(content))
            os.replace(unfinished, self.path / f"{kind}-{writer}.json")
        except FileNotFoundError:
            return  # the run is over, or it was begun on another machine: nobody reads here

    def published(self, kind: str) -> Iterator[Any]:
        for path in sorted(self.path.glob(f"{kind}-*.json")):
            try:
                yield json.loads(path.read_text())
            except (OSError, ValueError):  # pragma: no cover (replaced while we looked)
                continue

    def halts(self) -> list[Halt]:
        """What stopped the asking, once each however many processes it stopped."""
        return list(dict.fromkeys(Halt(*item) for content in self.published("halt") for item in content))

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Publishes what tutelage raises on purpose: out of another process, Beam brings only a traceback as text."""
        try:
            yield
        except TutelageError as error:
            self.publish("error", secrets.token_hex(8), [type(error).__name__, str(error)])
            raise

    def reported(self) -> TutelageError | None:
        for name, message in self.published("error"):
            error: TutelageError = getattr(errors, name)(message)
            return error
        return None
