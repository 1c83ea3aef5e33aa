"""A curation in a folder of a test's own: parents with seals and fingerprints, audits' files written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from audit_scene import input_of

from tutelage.pipelines.audit_results import AuditResults
from tutelage.pipelines.curate import Curated, curate
from tutelage.pipelines.curate_gate import open_curate_gate
from tutelage.pipelines.curate_policy import CurateConfig, parse_curate_config
from tutelage.pipelines.parents import open_parents
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import ContractWriter, open_parquet, rows_of, table_of
from tutelage.schemas.contracts import CONTAMINATION_HITS, DECISIONS, DUPLICATE_CLUSTERS, FINDINGS, Contract
from tutelage.schemas.rows import Completion, ContaminationHit, Decision, DuplicateMember, Finding

TODAY = date(2026, 11, 25)
GPT: dict[str, Any] = {
    "teacher": "gpt",
    "model_requested": "gpt-5.2",
    "revision": None,
    "channel": "api:openai",
    "terms_id": "CC0-1.0;openai-api",
    "train_use": "deny_competing",
}
SIGNED = {"approver": "J. Doe", "reason": "contract 7", "scope": "gpt", "expires": "2026-12-31"}
Member = tuple[str, Completion]


class CurateScene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def out(self) -> Folder:
        return Folder(str(self.folder / "out"))

    def parent(self, name: str, rows: Sequence[Completion], *, files: int = 1) -> str:
        return input_of(self.folder / name, rows, files=files).uri

    def config(self, *datasets: str, shards: int = 2, **policy: Any) -> CurateConfig:
        sections = {"version": 1, "datasets": list(datasets), "policy": policy}
        return parse_curate_config({**sections, "output": {"uri": self.out.uri, "shards": shards}}, "test")

    def curate(self, config: CurateConfig, audits: AuditResults | None = None, today: date = TODAY) -> Curated:
        parents = open_parents(config.datasets, config.output.uri)
        gate = open_curate_gate(parents, config.policy.teachers, config.policy.terms, today)
        gate.require(config.policy.teachers)
        return curate(config, parents, gate, audits or AuditResults())

    def clusters(
        self,
        folder: str,
        responses: Sequence[Sequence[Member]] = (),
        prompts: Sequence[Sequence[Member]] = (),
        *,
        kind: str = "near",
    ) -> Folder:
        for name, clusters in (("duplicate_clusters", responses), ("prompt_clusters", prompts)):
            named = [sorted((row.row_id, dataset) for dataset, row in cluster) for cluster in clusters]
            members = [
                DuplicateMember(cluster[0][0], dataset, row_id, kind, len(cluster))
                for cluster in sorted(named)
                for row_id, dataset in cluster
            ]
            self._write(DUPLICATE_CLUSTERS, folder, name, members)
        return Folder(str(self.folder / folder))

    def hits(self, *hits: ContaminationHit) -> Folder:
        self._write(CONTAMINATION_HITS, "contamination", "contamination_hits", hits)
        return Folder(str(self.folder / "contamination"))

    def findings(self, *findings: Finding) -> Folder:
        self._write(FINDINGS, "quality", "findings", findings)
        return Folder(str(self.folder / "quality"))

    def decisions(self) -> list[Decision]:
        with self.out.open("decisions.parquet") as stream:
            return list(rows_of(DECISIONS, open_parquet(DECISIONS, stream, "decisions.parquet").read()))

    def reasons(self) -> dict[str, str]:
        """The reason of each row, by the short name that its response is."""
        return {decision.row_id: decision.reason for decision in self.decisions()}

    def rows(self, split: str = "*") -> list[dict[str, Any]]:
        names = self.out.list(f"completions/{split}-*.parquet")
        return [row for name in names for row in pq.read_table(self.out.path(name)).to_pylist()]

    def bytes(self) -> dict[str, bytes]:
        """Every file of the set."""
        root = Path(self.out.root)
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    def _write(self, contract: Contract, folder: str, name: str, rows: Sequence[Any]) -> None:
        file = f"{folder}/{name}.parquet"
        with Folder(str(self.folder)).replacing(file) as stream, ContractWriter(contract, stream, file) as writer:
            writer.write(table_of(contract, rows, file))
