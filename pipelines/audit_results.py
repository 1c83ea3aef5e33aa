"""What the audits found of the parents' rows, read from the Parquet files that they leave behind."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.curate_rows import CurateRows, Mask, Numbers
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import open_parquet, rows_of
from tutelage.schemas.contracts import CONTAMINATION_HITS, DUPLICATE_CLUSTERS, FINDINGS, Contract
from tutelage.schemas.errors import ConfigError, ContractError

RESPONSE_CLUSTERS, PROMPT_CLUSTERS = "duplicate_clusters.parquet", "prompt_clusters.parquet"
HITS_FILE, FINDINGS_FILE = "contamination_hits.parquet", "findings.parquet"
METHODS = ("exact", "ngram", "near")
"""How a text of an evaluation set was found, what is most certain first."""


class AuditResults(NamedTuple):
    """Folders of results, None where the policy asks for none. `duplicates` compared responses as the policy's dedupe
    says, `likeness` all responses with all others, for the split. `facts` go into the receipt."""

    duplicates: Folder | None = None
    likeness: Folder | None = None
    contamination: Folder | None = None
    findings: tuple[Folder, ...] = ()
    facts: dict[str, dict[str, str | int | float]] = {}  # noqa: RUF012  (nobody changes it)


class Clusters(NamedTuple):
    """Row numbers and, beside each, the number of its cluster; `exact` tells of each cluster whether all are equal."""

    rows: Numbers
    cluster: Numbers
    exact: Mask


class Hit(NamedTuple):
    row: int
    detail: str


def read_clusters(folder: Folder, name: str, rows: CurateRows) -> Clusters:
    table = _table(DUPLICATE_CLUSTERS, folder, name, ["cluster_id", "dataset", "row_id", "kind", "size"])
    numbers = rows.find(table.column("dataset"), table.column("row_id"), folder.path(name))
    ids, sizes = table.column("cluster_id").to_pylist(), table.column("size").to_pylist()
    # Two clusters may be called by one row id, where two datasets hold that row: they stand one after the other.
    clusters, place = np.zeros(len(ids), np.int64), 0
    starts: list[int] = []
    while place < len(ids):
        end = place + sizes[place]
        if sizes[place] < 1 or end > len(ids) or ids[end - 1] != ids[place]:
            raise ContractError(
                f"{folder.path(name)}: cluster {ids[place]} counts {sizes[place]} rows, and they were wanted one after "
                "the other; run the audit again"
            )
        clusters[place:end] = len(starts)
        starts.append(place)
        place = end
    kinds = table.column("kind").to_numpy(zero_copy_only=False)
    return Clusters(numbers, clusters, kinds[starts] == "exact" if starts else np.zeros(0, np.bool_))


def read_hits(folder: Folder, methods: tuple[str, ...], rows: CurateRows) -> list[Hit]:
    """One hit a row: the most certain method's, and of that the largest share."""
    columns = [name for name in CONTAMINATION_HITS.schema.names if not name.endswith("_text")]
    table = _table(CONTAMINATION_HITS, folder, HITS_FILE, columns)
    table = table.filter(pc.is_in(table.column("method"), value_set=pa.array(methods, pa.string())))
    numbers = rows.find(table.column("dataset"), table.column("row_id"), folder.path(HITS_FILE))
    best: dict[int, tuple[Any, ...]] = {}
    for number, hit in zip(numbers.tolist(), table.to_pylist(), strict=True):
        place = hit["benchmark"], hit["item_id"], hit["item_field"], hit["part"]
        key = (METHODS.index(hit["method"]), -hit["share"], *place)
        best[number] = min(best.get(number, key), key)
    return [
        Hit(number, f"{METHODS[method]}: {-share:.0%} of {benchmark} item {item} ({field}) is in the {part}")
        for number, (method, share, benchmark, item, field, part) in sorted(best.items())
    ]


def read_findings(folders: tuple[Folder, ...], rules: tuple[str, ...], rows: CurateRows) -> list[tuple[str, Numbers]]:
    """The rows that findings of each rule name, in the rules' order; raises ConfigError where a finding names only
    some of its rows."""
    found: dict[str, list[Numbers]] = {rule: [] for rule in rules}
    for folder in folders:
        for item in rows_of(FINDINGS, _table(FINDINGS, folder, FINDINGS_FILE)):
            if item.rule not in found:
                continue
            if item.rows > len(item.row_ids):
                raise ConfigError(
                    f"policy.findings.drop: {item.rule} concerns {item.rows:,} rows of {item.dataset} and names "
                    f"{len(item.row_ids):,} of them, so that they can't all be left out; use the policy's own rules "
                    "(outcomes, languages, min_response_words…), or curate smaller datasets"
                )
            datasets = pa.chunked_array([pa.array([item.dataset] * len(item.row_ids), pa.string())])
            ids = pa.chunked_array([pa.array(item.row_ids, pa.string())])
            found[item.rule].append(rows.find(datasets, ids, folder.path(FINDINGS_FILE)))
    return [(rule, np.concatenate(parts)) for rule, parts in found.items() if parts]


def _table(contract: Contract, folder: Folder, name: str, columns: list[str] | None = None) -> pa.Table:
    with folder.open(name) as stream:
        return open_parquet(contract, stream, folder.path(name)).read(columns)
