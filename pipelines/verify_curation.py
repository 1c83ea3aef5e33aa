"""Verifying what only a curated set has: is its choice the one that its policy, receipt and decisions tell of?"""

from collections import Counter
from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES, DECISIONS_FILE, POLICY_FILE, RECEIPT_FILE
from tutelage.pipelines.sealed_rows import damage_named
from tutelage.pipelines.storage import Folder
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import COMPLETIONS, DECISIONS
from tutelage.schemas.errors import ContractError, SealBroken
from tutelage.schemas.manifest import Manifest
from tutelage.schemas.receipt import SPLITS, Receipt, parse_receipt


def curation_problems(folder: Folder, manifest: Manifest, withdrawn: Collection[str]) -> Iterator[str]:
    """One sentence for each thing that differs; nothing for a harvest. What is missing or damaged was said before."""
    if not manifest.is_curated:
        return
    try:
        if sha256_hex(folder.read(POLICY_FILE)) != manifest.policy_sha256:
            yield f"{POLICY_FILE}: is not the policy that the manifest names"
        receipt = parse_receipt(folder.read(RECEIPT_FILE), RECEIPT_FILE)
        yield from _receipt_problems(receipt, manifest)
        yield from _decision_problems(folder, receipt, withdrawn)
    except FileNotFoundError:
        return
    except (ContractError, SealBroken) as error:
        yield str(error)


def _receipt_problems(receipt: Receipt, manifest: Manifest) -> Iterator[str]:
    for name in ("policy_sha256", "parents", "merkle"):
        if getattr(receipt, name) != getattr(manifest, name):
            yield f"{RECEIPT_FILE}: its {name} is not the manifest's"
    if receipt.rows_in != sum(receipt.reasons.values()) or receipt.rows_out != sum(receipt.splits.values()):
        yield f"{RECEIPT_FILE}: its counts don't add up"
    if receipt.rows_out != manifest.merkle.leaves:
        yield f"{RECEIPT_FILE}: counts {receipt.rows_out:,} rows, the Merkle tree has {manifest.merkle.leaves:,} leaves"


def _decision_problems(folder: Folder, receipt: Receipt, withdrawn: Collection[str]) -> Iterator[str]:
    path = folder.path(DECISIONS_FILE)
    with damage_named(path), folder.open(DECISIONS_FILE) as stream:
        found = open_parquet(DECISIONS, stream, path).read()
    if Counter(found.column("reason").to_pylist()) != Counter(receipt.reasons):
        yield f"{DECISIONS_FILE}: its reasons are not those that {RECEIPT_FILE} counts"
    if found.group_by(["dataset", "row_id"]).aggregate([]).num_rows != found.num_rows:
        yield f"{DECISIONS_FILE}: decides of a row twice"
    kept = found.filter(pc.equal(found.column("decision"), "in"))
    for split in SPLITS:
        of_split = kept.filter(pc.equal(kept.column("split"), split)).column("row_id").to_pylist()
        decided, there = set(of_split), set(_row_ids(folder, split))
        if not (there <= decided and decided - there <= set(withdrawn)):
            differ = sorted((there ^ decided) - set(withdrawn)) or sorted(there - decided)
            yield f"{DECISIONS_FILE}: decides otherwise of row {differ[0]} than the files of {split} have it"
    groups = pa.table({"group": kept.column("prompt_cluster"), "split": kept.column("split")}).drop_null()
    splits = groups.group_by("group").aggregate([("split", "count_distinct")])
    for group in splits.filter(pc.greater(splits.column("split_count_distinct"), 1)).column("group").to_pylist()[:10]:
        yield f"{DECISIONS_FILE}: the near-duplicates of group {group} stand in both splits"


def _row_ids(folder: Folder, split: str) -> Iterator[str]:
    for name in folder.list(COMPLETIONS_FILES):
        if name.startswith(f"completions/{split}-"):
            path = folder.path(name)
            with damage_named(path), folder.open(name) as stream:
                yield from open_parquet(COMPLETIONS, stream, path).read(columns=["row_id"]).column(0).to_pylist()
