"""Which rows say the same, or nearly? Exact copies by digest, near ones by banded MinHash, verified on the texts.

Steps are in `sql/duplicates/`. A candidate shares a band; every candidate's Jaccard similarity is computed exactly, so
that what is reported has at least the threshold. What is missed is bounded by the S-curve (`banding`): the expected
recall is printed beside the result. docs/decisions/0012-fingerprints.md argues the rules.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.audit.banding import Banding, band_digests, choose_banding
from tutelage.audit.findings import finding, write_findings
from tutelage.audit.folder import RESULTS, AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.jaccard import exact_jaccard
from tutelage.audit.provenance import input_findings
from tutelage.audit.tables import connect, fetch, run, write
from tutelage.audit.texts import DatasetTexts, fingerprint_batches, signatures_of
from tutelage.audit.union_find import UnionFind
from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.contracts import DUPLICATE_CLUSTERS, DUPLICATE_PAIRS
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import Finding

WITHIN = ("prompt", "teacher", "all")
BUCKET_LIMIT = 100
"""A bucket of more texts is oversized: its texts are linked to its first and to their neighbour, not all to all, and it
is counted. 100 texts are 4,950 pairs, 40 ms of exact comparison."""
PARTS = {
    "response": ("duplicate_pairs", "duplicate_clusters"),
    "prompt": ("prompt_pairs", "prompt_clusters"),
}


class PartReport(NamedTuple):
    """Of the responses, or of the prompts (each counted once, whoever answered it). `expected_recall` is that of pairs
    at the threshold itself."""

    documents: int
    empty: int
    exact_clusters: int
    near_clusters: int
    pairs: int
    bands: int
    rows_per_band: int
    expected_recall: float
    oversized_buckets: int
    capped_texts: int
    candidates: int
    rows_in_clusters: int
    pairs_file: str
    clusters_file: str


class DuplicatesReport(NamedTuple):
    threshold: float
    within: str
    responses: PartReport
    prompts: PartReport
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.responses._asdict(),
            "threshold": self.threshold,
            "within": self.within,
            "prompts": self.prompts._asdict(),
        }


def audit_duplicates(
    inputs: Sequence[AuditInput],
    out: AuditFolder,
    *,
    threshold: float = 0.8,
    within: str = "all",
    across: Sequence[AuditInput] = (),
    memory_limit: str = "2GB",
) -> DuplicatesReport:
    """Writes pairs and clusters of responses and of prompts, and findings. With `across`, only pairs between the two
    groups of datasets count."""
    banding = choose_banding(threshold)
    if within not in WITHIN:
        raise ConfigError(f"--within {within!r}: one of {', '.join(WITHIN)} was wanted")
    with connect((), memory_limit=memory_limit) as connection:
        # Prompts are compared with one another whatever `within` says: it parts the responses.
        reports = {
            part: _Audit(
                connection, [*inputs, *across], len(inputs) if across else 0, out, part, banding, threshold
            ).run(within if part == "response" else "all")
            for part in PARTS
        }
        findings = input_findings("duplicates", [*inputs, *across])
        findings += [
            item for part, report in reports.items() for item in _findings(connection, out, part, report, threshold)
        ]
    found = DuplicatesReport(threshold, within, reports["response"], reports["prompt"], findings)
    write_findings(out, ["duplicates"], findings)
    out.write("duplicates.json", canonical_json(found.to_json()) + b"\n")
    return found


class _Audit(NamedTuple):
    """One part of one audit. `left_datasets` is how many datasets stand on the left of `--across`, or 0."""

    connection: duckdb.DuckDBPyConnection
    inputs: Sequence[AuditInput]
    left_datasets: int
    out: AuditFolder
    part: str
    banding: Banding
    threshold: float

    def run(self, within: str) -> PartReport:
        counts = self._load(within)
        run(self.connection, "duplicates/01_texts", left_datasets=self.left_datasets)
        run(self.connection, "duplicates/02_bands")
        oversized = self._find_candidates()
        candidates = self._verify()
        run(self.connection, "duplicates/07_clusters", across=self._across)
        run(self.connection, "duplicates/08_copies", left_datasets=self.left_datasets)
        pairs_file, clusters_file = (RESULTS[name] for name in PARTS[self.part])
        pairs = write(
            self.connection,
            self.out,
            DUPLICATE_PAIRS,
            pairs_file,
            "duplicates/10_pair_rows",
            across=self._across,
            bucket_limit=BUCKET_LIMIT,
        )
        rows = write(self.connection, self.out, DUPLICATE_CLUSTERS, clusters_file, "duplicates/09_cluster_rows")
        clusters = fetch(self.connection, "duplicates/11_counts", bucket_limit=BUCKET_LIMIT)[0]
        return PartReport(
            **counts,
            **clusters,
            pairs=pairs,
            bands=self.banding.bands,
            rows_per_band=self.banding.rows_per_band,
            expected_recall=round(self.banding.recall_at(self.threshold), 6),
            oversized_buckets=oversized,
            candidates=candidates,
            rows_in_clusters=rows,
            pairs_file=self.out.path(pairs_file),
            clusters_file=self.out.path(clusters_file),
        )

    @property
    def _across(self) -> bool:
        return self.left_datasets > 0

    def _load(self, within: str) -> dict[str, int]:
        """Table `arrived`; says how many documents there are, and how many rows have a text without a word."""
        schema = pa.schema(
            [
                ("row_no", pa.int64()),
                ("dataset_no", pa.int32()),
                ("row_id", pa.string()),
                ("owner", pa.string()),
                ("part", pa.string()),
                ("sha256", pa.string()),
                ("words", pa.int64()),
                ("digests", pa.list_(pa.uint64(), self.banding.bands)),
            ]
        )
        names = pa.table({"dataset_no": range(len(self.inputs)), "dataset": [item.name for item in self.inputs]})
        self.connection.register("datasets", names)
        empty: list[int] = []
        batches = self._batches(within, empty)
        self.connection.register("arriving", pa.RecordBatchReader.from_batches(schema, batches))
        run(self.connection, "duplicates/00_arrived")
        self.connection.unregister("arriving")
        return {**fetch(self.connection, "duplicates/00_counts")[0], "empty": sum(empty)}

    def _batches(self, within: str, empty: list[int]) -> Iterator[pa.RecordBatch]:
        facts = [f"{self.part}_{fact}" for fact in ("sha256", "words", "signature")]
        parted_by = {"prompt": "prompt_id", "teacher": "teacher"}.get(within)
        for dataset_no, first, batch in fingerprint_batches(self.inputs, ["row_id", "prompt_id", "teacher", *facts]):
            numbers = pa.array(np.arange(first, first + batch.num_rows))
            has_words = pc.greater(batch[facts[1]], 0)
            empty.append(batch.num_rows - pc.sum(has_words).as_py())
            numbers, texts = numbers.filter(has_words), batch.filter(has_words)
            nothing = pa.nulls(texts.num_rows, pa.string())
            digests = band_digests(signatures_of(texts[facts[2]]), self.banding)
            yield pa.record_batch(
                {
                    "row_no": numbers,
                    "dataset_no": pa.array(np.full(texts.num_rows, dataset_no, np.int32)),
                    "row_id": texts["row_id"],
                    # A prompt is compared once, whoever answered it.
                    "owner": pc.coalesce(texts["prompt_id"], texts["row_id"]) if self.part == "prompt" else nothing,
                    # No prompt and no teacher are a part of their own.
                    "part": pc.fill_null(texts[parted_by] if parted_by else nothing, ""),
                    "sha256": texts[facts[0]],
                    "words": texts[facts[1]],
                    "digests": pa.FixedSizeListArray.from_arrays(pa.array(digests.reshape(-1)), self.banding.bands),
                }
            )

    def _find_candidates(self) -> int:
        self.connection.execute("CREATE OR REPLACE TEMP TABLE candidates (left_no BIGINT, right_no BIGINT)")
        oversized = 0
        for band in range(1, self.banding.bands + 1):
            run(self.connection, "duplicates/03_buckets", band=band)
            run(self.connection, "duplicates/04_members", band=band)
            run(self.connection, "duplicates/05_candidates", bucket_limit=BUCKET_LIMIT, across=self._across)
            oversized += fetch(self.connection, "duplicates/05_oversized", bucket_limit=BUCKET_LIMIT)[0]["buckets"]
        return oversized

    def _verify(self) -> int:
        """Tables `verified` (pairs of texts at the threshold or above) and `joined` (their components)."""
        found = run(self.connection, "duplicates/06_pairs").fetchnumpy()
        pairs = np.stack([found["left_no"], found["right_no"]], axis=1).astype(np.int64)
        words = run(self.connection, "duplicates/06_words").fetchnumpy()
        shingles = np.zeros(int(words["text_no"].max()) + 1 if len(words["text_no"]) else 0, np.int64)
        shingles[words["text_no"].astype(np.int64)] = words["words"]
        similarities = exact_jaccard(pairs, DatasetTexts(self.inputs, self.part), shingles)
        is_alike = similarities >= self.threshold
        alike = pairs[is_alike]
        verified = {"left_no": alike[:, 0], "right_no": alike[:, 1], "jaccard": similarities[is_alike]}
        self.connection.register("verified", pa.table(verified))
        components = UnionFind()
        components.join_all(map(tuple, alike.tolist()))
        roots = components.roots()
        joined = {"text_no": pa.array(roots, pa.int64()), "root_no": pa.array(roots.values(), pa.int64())}
        self.connection.register("joined", pa.table(joined))
        return len(pairs)


def _findings(
    connection: duckdb.DuckDBPyConnection, out: AuditFolder, part: str, report: PartReport, threshold: float
) -> Iterator[Finding]:
    table = PARTS[part][1]
    connection.register("clusters", out.read_table(DUPLICATE_CLUSTERS, RESULTS[table]))
    for found in fetch(connection, "duplicates/12_findings"):
        kind, ids = found["kind"], found["row_ids"]
        alike = "equal" if kind == "exact" else "nearly equal"
        rows, clusters = f"{found['rows']:,}", f"{found['clusters']:,}"
        messages = {
            "response": f"{rows} responses are in {clusters} clusters of {alike} ones; one of each "
            f"leaves {found['rows'] - found['clusters']:,} fewer",
            "prompt": f"{rows} rows answer {clusters} groups of {alike} prompts that have ids of their own",
        }
        yield finding(
            "duplicates",
            f"duplicates.{part}_{kind}",
            "warning" if part == "response" else "info",
            found["dataset"],
            messages[part],
            ids,
            {"clusters": found["clusters"], "largest": found["largest"], "oversized_buckets": report.oversized_buckets},
            rows=found["rows"],
            threshold=1.0 if kind == "exact" else threshold,
            threshold_source="equal normal forms" if kind == "exact" else "--threshold, Jaccard of 5-word shingles",
            error_rate=0.0,
            error_rate_source="every pair is verified on its texts, so none is below the threshold; of pairs at the "
            f"threshold {report.expected_recall:.1%} are expected to be found ({report.bands} bands of "
            f"{report.rows_per_band})",
            cannot_tell="whether a likeness is a copy, a template, or the one way to answer; translations, paraphrases",
        )
