"""A dataset audited for quality, and its findings by rule."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit_scene import input_of

from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.quality import QualityReport, audit_quality
from tutelage.schemas.rows import Completion, Finding


class Audited:
    """The findings of one dataset, by rule."""

    def __init__(self, dataset: AuditInput) -> None:
        self.out = AuditFolder(f"{dataset.uri}/audit")
        self.report: QualityReport = audit_quality([dataset], self.out)
        self.rules = {item.rule.partition(".")[2]: item for item in self.report.findings}

    def severities(self) -> dict[str, str]:
        return {name: item.severity for name, item in self.rules.items()}

    def __getitem__(self, rule: str) -> Finding:
        return self.rules[rule]

    def evidence(self, rule: str) -> dict[str, Any]:
        return json.loads(self.rules[rule].evidence)  # type: ignore[no-any-return]


def audited(folder: Path, rows: Sequence[Completion], **how: Any) -> Audited:
    return Audited(input_of(folder / "set", rows, **how))


def words(seed: int, count: int = 60) -> str:
    chosen = random.Random(seed)
    return " ".join("".join(chosen.choices("abcdefghijklmnoprstuw", k=chosen.randint(3, 8))) for _ in range(count))
