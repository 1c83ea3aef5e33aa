"""The files of a dataset folder that a seal covers, by name and contract."""

import hashlib
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import check_version
from tutelage.schemas.contracts import COMPLETIONS, DECISIONS, FAILED, JOURNAL, LEDGER, PLAN, REJECTED, Contract
from tutelage.schemas.manifest import TOMBSTONES

COMPLETIONS_FILES, FAILED_FILES = "completions/*.parquet", "failed/*.parquet"
LEDGER_FILE, REJECTED_FILE, RUN_FILE = "ledger.parquet", "rejected.parquet", "run.json"
DECISIONS_FILE, POLICY_FILE, RECEIPT_FILE = "decisions.parquet", "policy.json", "receipt.json"
"""What only a curated set has."""
CARD_FILE, LICENSE_FILE, CROISSANT_FILE = "README.md", "LICENSE.md", "croissant.json"
TABLES: tuple[tuple[str, Contract], ...] = (
    ("plan/*.parquet", PLAN),
    (COMPLETIONS_FILES, COMPLETIONS),
    (FAILED_FILES, FAILED),
    ("journal/part-*.parquet", JOURNAL),
    (LEDGER_FILE, LEDGER),
    (REJECTED_FILE, REJECTED),
    (DECISIONS_FILE, DECISIONS),
)
OTHER_FILES = (
    *(RUN_FILE, POLICY_FILE, RECEIPT_FILE),
    *(CARD_FILE, LICENSE_FILE, CROISSANT_FILE, TOMBSTONES),
    *("terms/*.txt", "manifests/*.json"),
)
DERIVED = ("fingerprints", "audit")
"""Folders of what can be made again from the rows; no part of the seal."""
UNSEALED_SEGMENTS = "journal/*.seg"
PATTERNS = (*(pattern for pattern, _ in TABLES), *OTHER_FILES)


def refuse_newer(folder: Folder) -> None:
    """Raises ContractError where a table is of a newer version than this code writes; looks at footers only.

    A damaged file is no matter here: what a harvest rebuilds it replaces, and what it reads it checks.
    """
    for pattern, contract in TABLES:
        for name in folder.list(pattern):
            with folder.open(name) as stream:
                try:
                    schema = pq.read_schema(stream)
                except (pa.ArrowException, OSError):
                    continue
            check_version(contract, schema, folder.path(name))


class Digest(NamedTuple):
    bytes: int
    sha256: str


def digest_of(folder: Folder, name: str) -> Digest:
    digest, size = hashlib.sha256(), 0
    with folder.open(name) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return Digest(size, digest.hexdigest())


def row_count(folder: Folder, name: str) -> int:
    with folder.open(name) as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)
