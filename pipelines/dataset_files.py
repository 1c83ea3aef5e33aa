"""The files of a dataset folder that a seal covers, by name and contract."""

import hashlib
from typing import NamedTuple

import pyarrow.parquet as pq

from tutelage.pipelines.plan import REJECTED_FILE
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contracts import COMPLETIONS, FAILED, JOURNAL, LEDGER, PLAN, REJECTED, Contract
from tutelage.schemas.manifest import TOMBSTONES

COMPLETIONS_FILES, FAILED_FILES = "completions/*.parquet", "failed/*.parquet"
LEDGER_FILE, RUN_FILE = "ledger.parquet", "run.json"
CARD_FILE, LICENSE_FILE, CROISSANT_FILE = "README.md", "LICENSE.md", "croissant.json"
TABLES: tuple[tuple[str, Contract], ...] = (
    ("plan/*.parquet", PLAN),
    (COMPLETIONS_FILES, COMPLETIONS),
    (FAILED_FILES, FAILED),
    ("journal/part-*.parquet", JOURNAL),
    (LEDGER_FILE, LEDGER),
    (REJECTED_FILE, REJECTED),
)
OTHER_FILES = (RUN_FILE, CARD_FILE, LICENSE_FILE, CROISSANT_FILE, TOMBSTONES, "terms/*.txt", "manifests/*.json")
UNSEALED_SEGMENTS = "journal/*.seg"
PATTERNS = (*(pattern for pattern, _ in TABLES), *OTHER_FILES)


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
