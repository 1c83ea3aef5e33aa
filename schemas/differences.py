"""Where two JSON documents differ, for whoever has to choose between them."""

import json
from collections.abc import Mapping
from typing import Any

SHOWN = 8
_VALUE_SHOWN = 120


def differences(there: Any, here: Any, place: str = "") -> list[str]:
    """`place: there -> here`, a line each, sorted by place."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            line
            for key in sorted({*there, *here})
            for line in differences(there.get(key), here.get(key), f"{place}.{key}".lstrip("."))
        ]
    return [] if there == here else [f"{place}: {_short(there)} -> {_short(here)}"]


def shown(lines: list[str]) -> str:
    """The first of them, indented."""
    return "\n".join(f"  {line}" for line in lines[:SHOWN])


def _short(value: Any) -> str:
    # As orjson writes it: these lines have stood in messages from the beginning.
    return "absent" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))[:_VALUE_SHOWN]
