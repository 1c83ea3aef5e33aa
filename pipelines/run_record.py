"""`run.json`: which runs made the dataset, with what config, code and parts, and what their teachers could do."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

from tutelage.pipelines.config import HarvestConfig, Prices
from tutelage.pipelines.dataset_files import RUN_FILE
from tutelage.pipelines.job import TermsStamp
from tutelage.pipelines.storage import Folder
from tutelage.schemas.differences import differences, shown
from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.schemas.version import CODE_VERSION

RUN_CONTRACT = "run/1"
PARTS = ("apache-beam", "aiohttp", "httpx", "httpx-aiohttp", "jsonschema", "orjson", "pyarrow", "pydantic", "uvloop")


def read_runs(folder: Folder) -> list[dict[str, Any]]:
    """Earlier runs of the folder, oldest first."""
    if not folder.exists(RUN_FILE):
        return []
    path = folder.path(RUN_FILE)
    try:
        document = orjson.loads(folder.read(RUN_FILE))
        name, _, number = document["contract"].partition("/")
        newer = name == "run" and number.isdigit() and int(number) > 1
        runs = [] if newer else [dict(run) for run in document["runs"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContractError(
            f"{path}: is no {RUN_CONTRACT} ({type(error).__name__}: {error}); restore it from a copy, or harvest into "
            "a new folder"
        ) from error
    if newer:
        raise ContractError(f"{path}: run/{number} is newer than this tutelage reads ({RUN_CONTRACT}); upgrade it")
    return runs


def write_runs(folder: Folder, runs: Sequence[dict[str, Any]]) -> None:
    document = {"contract": RUN_CONTRACT, "runs": list(runs)}
    folder.write(RUN_FILE, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def new_run(
    config: HarvestConfig, run_id: str, started_at: str, terms: dict[str, dict[str, TermsStamp]]
) -> dict[str, Any]:
    """A run's record at its start. The config names the variables that hold keys, never a key."""
    return {
        "run_id": run_id,
        "started_at": started_at,
        "code_version": CODE_VERSION,
        "parts": {name: found for name in PARTS if (found := _version(name))},
        "identity": config.identity(),
        "config": config.model_dump(mode="json"),
        "terms": {name: {item: list(stamp) for item, stamp in stamps.items()} for name, stamps in terms.items()},
        "capabilities": {},
    }


def prices_by_run(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Prices]]:
    """What each run paid: a call keeps its price, whatever a later config says."""
    return {
        run["run_id"]: {
            teacher["name"]: Prices.model_validate(teacher["price_usd_per_million_tokens"])
            for teacher in run["config"]["teachers"]
        }
        for run in runs
    }


def terms_by_run(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, TermsStamp]]]:
    return {
        run["run_id"]: {
            name: {item: TermsStamp(stamp[0], stamp[1], tuple(stamp[2])) for item, stamp in stamps.items()}
            for name, stamps in run["terms"].items()
        }
        for run in runs
    }


def require_same_identity(config: HarvestConfig, runs: Sequence[dict[str, Any]], uri: str) -> None:
    """Raises ConfigError, with the first differences, where the folder was made with other teachers or sampling."""
    if not runs:
        return
    before, now = runs[-1]["identity"], orjson.loads(orjson.dumps(config.identity()))
    found = differences(before, now)
    if found:
        raise ConfigError(
            f"{uri}: was harvested with another config (there -> here):\n{shown(found)}\n"
            "name another output.uri, or go back to the config that made this folder"
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
