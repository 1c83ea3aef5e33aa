"""Outputs in files, as a user would write them, and how they are read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lineage_texts import panel_by_role

from tutelage.audit.lineage.outputs import Outputs, read_outputs
from tutelage.audit.lineage.panel import Panel
from tutelage.schemas.errors import ConfigError

Row = tuple[str, Any, str, str]
PANEL = panel_by_role(teacher="teacher", control="control")


def table(rows: Sequence[Row], **columns: Any) -> pa.Table:
    names = ("model", "prompt_id", "prompt", "response")
    return pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)} | columns)


def grid(*models: str, prompts: int = 10) -> list[Row]:
    return [(model, f"p{n}", f"question {n}", f"{model} on {n}") for n in range(prompts) for model in models]


def read(
    folder: Path, content: pa.Table | Sequence[Row], panel: Panel = PANEL, suspects: Sequence[str] = (), **how: Any
) -> Outputs:
    path = folder / "outputs.parquet"
    pq.write_table(content if isinstance(content, pa.Table) else table(content), path)
    return read_outputs([str(path)], panel, suspects, **how)


def refused(*arguments: Any, **how: Any) -> str:
    with pytest.raises(ConfigError) as refusal:
        read(*arguments, **how)
    return str(refusal.value)


def shown(found: Outputs) -> list[tuple[str, str, str]]:
    """(prompt_id, model, text) of every row, in order."""
    return [
        (found.prompt_ids[prompt], found.models[model], text)
        for prompt, model, text in zip(found.prompt_no, found.model_no, found.texts, strict=True)
    ]
